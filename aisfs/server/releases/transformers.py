"""How a release talks with transformers, and with clients about them."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class TransformerRules:
    """Facts about the transformers of a release; the defaults are those of AIS 5.0.

    Attributes:
        newer_definitions: Whether definitions have the keys and defaults of 5.0.
        keeps_failed: Whether the name of one that did not start stays taken.
        lists_stopped: Whether those that do not run are listed, with their stage.
        shows_details: Whether a transformer's view has details beside its definition.
        newer_words: Whether refusals have the words and statuses of 5.0.
        missing_job_refused: Whether a job without its transformer is 404; else 400.
        missing_logs_refused: Whether logs of one that is not there are 404; else 400.
        reads_files: Whether processes are told of a file to read, not only sent bytes.
        names_type: Whether the bytes that are sent are said to be octets.
        direct_put: Whether results go straight to the target that owns them.
        named_objects: Whether the URL to read objects from has the transformer's name.
        newer_keys: Whether jobs take the keys of 5.0.
        dry_onto_itself: Whether a job that only counts may have one bucket as both ends.
    """

    newer_definitions: bool = True
    keeps_failed: bool = True
    lists_stopped: bool = True
    shows_details: bool = True
    newer_words: bool = True
    missing_job_refused: bool = True
    missing_logs_refused: bool = True
    reads_files: bool = True
    names_type: bool = False
    direct_put: bool = True
    named_objects: bool = True
    newer_keys: bool = True
    dry_onto_itself: bool = True


TRANSFORMERS_5_0: Final = TransformerRules()
TRANSFORMERS_3_17: Final = TransformerRules(
    newer_definitions=False,
    keeps_failed=False,
    lists_stopped=False,
    shows_details=False,
    newer_words=False,
    missing_job_refused=False,
    missing_logs_refused=False,
    reads_files=False,
    names_type=True,
    direct_put=False,
    named_objects=False,
    newer_keys=False,
    dry_onto_itself=False,
)
