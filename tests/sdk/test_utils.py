from pathlib import Path

import pytest
import requests

from aisfs_sdk import Client, errors, utils
from aisfs_sdk.smap import Smap


def test_probing_frequency() -> None:
    assert [utils.probing_frequency(dur) for dur in (-1, 0, 64, 128, 100000)] == [
        0.1,
        0.1,
        1,
        2,
        1562.5,
    ]


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x" * 123)
    assert utils.read_file_bytes(file) == b"x" * 123
    assert utils.get_file_size(file) == "123 Bytes"
    utils.validate_file(file)
    utils.validate_directory(str(tmp_path))
    for check, path in (
        (utils.validate_file, tmp_path),
        (utils.validate_file, tmp_path / "none"),
        (utils.validate_directory, file),
        (utils.validate_directory, tmp_path / "none"),
    ):
        with pytest.raises(ValueError, match="Path:"):
            check(path)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 Bytes"), (1, "1 Byte"), (999, "999 Bytes"), (1000, "1.0 kB"), (1_500_000, "1.5 MB")],
)
def test_sizes_for_people(tmp_path: Path, size: int, text: str) -> None:
    with (tmp_path / "f").open("wb") as file:
        file.truncate(size)
    assert utils.get_file_size(tmp_path / "f") == text
    assert utils.get_file_size(None) == "unknown"


def test_answers_of_a_plain_session(client: Client, endpoint: str) -> None:
    session = client.request_client.session
    smap = session.get(f"{endpoint}/v1/daemon", params={"what": "smap"})
    assert utils.decode_response(Smap, smap).uuid == client.cluster().get_uuid()
    with pytest.raises(errors.InvalidRequestError):
        utils.handle_errors(session.get(f"{endpoint}/v1/daemon", params={"what": "bogus"}))
    with pytest.raises(requests.HTTPError):
        utils.handle_errors(session.head(f"{endpoint}/v1/objects/sdk-none/o?provider=ais"))
