"""The registry of models, on the command line: what there is, where it came from, and whether that is true.

    python -m stages.registry list [MODEL] [--data MD5]   all versions, or those that come from some data
    python -m stages.registry show MODEL                  lineage, metrics, how to load: the champion's, or a version's
    python -m stages.registry verify [MODEL]              every hash again; status 1 where one differs
    python -m stages.registry prove MODEL                 measure again in a fresh clone; status 1 where it differs
    python -m stages.registry rollback MODEL              champion is again who was it before
    python -m stages.registry gc [--keep N] [--yes]       old versions, and with --cache unneeded data, go
    python -m stages.registry sync                        register what the receipts name and the store lacks

MODEL is a model's or a task's name; MODEL@champion, MODEL@challenger and MODEL/3 name a version. `docs/registry.md`
explains and shows all of it.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from .lineage import Target

_KEEP = 5


def main() -> None:
    """The command line."""
    asked = _parser().parse_args()
    # Whoever asks would rather hear soon that the store is away.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    from ..tracking import mlflow_runs

    try:
        with mlflow_runs.store_in_words():
            failed = _carry_out(asked)
    except BrokenPipeError:  # whoever reads the table has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"unroll: registry: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(1 if failed else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stages.registry", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, purpose: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")

    chosen = verb("list", "all versions, their aliases, verdicts and headline metric")
    chosen.add_argument("model", nargs="?", metavar="MODEL")
    chosen.add_argument("--data", metavar="MD5", help="only what comes from this data: six digits of DVC's md5 or more")
    verb("show", "all that is known of a version").add_argument("model", metavar="MODEL")
    verb("verify", "compute every hash of the versions again").add_argument("model", nargs="?", metavar="MODEL")
    verb("prove", "measure a version again in a fresh clone of its commit").add_argument("model", metavar="MODEL")
    chosen = verb("rollback", "make the champion before this one champion again")
    chosen.add_argument("model", metavar="MODEL")
    chosen.add_argument("--by", default="", help="who decides; else the user's name")
    chosen.add_argument("--reason", default="", help="why")
    chosen = verb("gc", "say which old versions can go; with --yes, they do")
    chosen.add_argument("--keep", type=int, default=_KEEP, metavar="N", help=f"newest versions that stay; else {_KEEP}")
    chosen.add_argument("--cache", action="store_true", help="clear DVC's cache, too")
    chosen.add_argument("--yes", action="store_true", help="delete")
    verb("sync", "register what the receipts name and the store lacks, and show the table")
    return parser


def _carry_out(asked: argparse.Namespace) -> bool:
    """Do what is asked; whether something was found that is not as it should be."""
    from ..tracking import mlflow_runs
    from . import lineage

    named = getattr(asked, "model", None)
    target = lineage.parse(named) if named else None  # before a store is opened for a name that means nothing
    client = mlflow_runs.open_client()
    match asked.verb:
        case "list":
            if target and target.version:
                raise ValueError(f"{named!r}: list takes a model, and `show {named}` a version")
            if not lineage.show_list(client, target, asked.data):
                print("no version" + (f" comes from data {asked.data}" if asked.data else " yet; run `make repro`"))
        case "show":
            assert target is not None
            lineage.show(client, target)
        case "verify":
            return _verify(client, target)
        case "prove":
            assert target is not None
            return _prove(client, target)
        case "rollback":
            assert target is not None
            return _roll_back(client, target, asked)
        case "gc":
            _collect(client, asked)
        case "sync":
            from . import table, versions

            versions.sync()
            table.show()
    return False


def _verify(client: MlflowClient, target: Target | None) -> bool:
    from ..tasks.protocol import Task
    from . import lineage, verify
    from .aliases import get_version

    if target and target.version:
        chosen = [(target.task, get_version(client, target.name, target.version))]
    else:
        chosen = list(lineage.listing(client, target, None))
    cache, differs = verify.cache_folder(), False
    for _, version in chosen:
        print(f"{version.name} version {version.version}")
        for finding in verify.verify(client, version, cache):
            print(finding)
            differs |= finding.state == "differs"
    print("this checkout")
    for task in [target.task] if target else map(Task, Task.names()):
        if found := verify.verify_receipt(task):
            print(found)
            differs |= found.state == "differs"
    return differs


def _prove(client: MlflowClient, target: Target) -> bool:
    from .aliases import CHAMPION, get_version
    from .reproduce import prove

    version = get_version(client, target.name, target.version or CHAMPION)
    print(f"{version.name} version {version.version}, measured again:", flush=True)
    differs = False
    for finding in prove(client, target.task, version):
        print(finding, flush=True)
        differs |= finding.state != "ok"
    print("not proven: see what differs" if differs else "proven: the registered weights reach what was recorded")
    return differs


def _roll_back(client: MlflowClient, target: Target, asked: argparse.Namespace) -> bool:
    from .promotion import roll_back

    if target.version:
        raise ValueError(f"{asked.model!r}: rollback takes a model; it goes back to the champion before this one")
    came, left = roll_back(client, target.task, by=asked.by or getpass.getuser(), reason=asked.reason)
    print(f"{target.name} version {came} is champion again; version {left} is not, and stays so when registered again")
    return False


def _collect(client: MlflowClient, asked: argparse.Namespace) -> None:
    from . import garbage

    if asked.keep < 1:
        raise ValueError(f"--keep {asked.keep}: allowed is 1 or more")
    gone = 0
    for version in garbage.collect(client, asked.keep, delete=asked.yes):
        gone += 1
        print(f"{'deleted' if asked.yes else 'would delete'}: {version.name} version {version.version} and its files")
    if not gone:
        print(f"no version can go: {asked.keep} of each model stay, and those that are needed")
    if asked.cache:
        print(garbage.collect_cache(client, delete=asked.yes))
    if not asked.yes and (gone or asked.cache):
        print("nothing was deleted; --yes does")


if __name__ == "__main__":
    main()
