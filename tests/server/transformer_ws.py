"""A transformer that speaks websocket, run by the store: `python transformer_ws.py PORT`."""

import asyncio
import json
import os
import sys
from pathlib import Path
from urllib.parse import unquote

from aiohttp import ClientSession, web
from yarl import URL


async def health(_: web.Request) -> web.Response:
    return web.Response(text="OK")


async def serve(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(max_msg_size=0)
    await socket.prepare(request)
    while True:
        control = await socket.receive()
        if control.type is not web.WSMsgType.BINARY:
            return socket
        order = json.loads(control.data)
        if "fqn" in order:
            data = await asyncio.to_thread(Path(unquote(order["fqn"])).read_bytes)
        else:
            data = (await socket.receive()).data
        result = f"{order['path']}|{order.get('etl_args', '')}|".encode() + data.upper()
        if "pipeline" in order:
            await socket.send_str(await put(order["pipeline"], result))
        else:
            await socket.send_bytes(result)


async def put(url: str, data: bytes) -> str:
    target = os.environ["AIS_TARGET_URL"].partition("/v1/")[2]
    host, _, path = url.removeprefix("http://").partition("/")
    async with ClientSession() as session:
        place = URL(f"http://{host}/v1/{target}/{path}", encoded=True)
        async with session.put(place, data=data) as answer:
            return str(answer.status)


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.get("/health", health), web.get("/ws", serve)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
