"""The model registry on the command line: which versions exist, where they came from, and whether that checks out.

    python -m stages.registry list [MODEL] [--data MD5]   list all versions, or those made from the given data
    python -m stages.registry show MODEL                  show a version's lineage, metrics and how to load it
    python -m stages.registry verify [MODEL]              recompute every hash; exit status 1 if one differs
    python -m stages.registry prove MODEL                 measure again in a fresh clone; exit status 1 on a difference
    python -m stages.registry rollback MODEL              make the previous champion the champion again
    python -m stages.registry gc [--keep N] [--yes]       delete old versions and, with --cache, unneeded data
    python -m stages.registry links [--ui ADDRESS]        list MLflow's pages of runs and models; `make ui` prints them
    python -m stages.registry sync                        register receipts that are missing from the store

MODEL is the name of a model or a task and stands for its champion; MODEL@challenger and MODEL/3 name other versions.
See `docs/registry-commands.md` for details and examples.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from .lineage import Target

_KEEP = 5
_OF_A_VERSION = ("show", "prove", "rollback")  # verbs that mean nothing without one
_UI = "http://127.0.0.1:5000"


def main() -> None:
    """The command line."""
    args = _parser().parse_args()
    # Whoever waits for the answer would rather hear soon that the store is away.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    from ..command import one_line_errors

    with one_line_errors("unroll: registry"):
        try:
            failed = _run(args)
        except BrokenPipeError:  # whoever reads the table has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
    sys.exit(1 if failed else 0)


class _VerbParser(argparse.ArgumentParser):
    """A verb's parser, which refuses unknown arguments with the verb's own usage; argparse would show the module's."""

    def parse_known_args(self, *given: Any, **named: Any) -> tuple[Any, list[str]]:
        args, further = super().parse_known_args(*given, **named)
        if further:
            self.error(f"unrecognized arguments: {' '.join(further)}")
        return args, further


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stages.registry", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_VerbParser)

    def verb(name: str, purpose: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")

    chosen = verb("list", "list all versions with their aliases, verdicts and headline metric")
    chosen.add_argument("model", nargs="?", metavar="MODEL")
    chosen.add_argument(
        "--data", metavar="MD5", help="only versions made from this data: at least six digits of its DVC md5"
    )
    version = "NAME/VERSION"  # or NAME@ALIAS
    verb("show", "show everything known about a version").add_argument("model", metavar=version)
    verb("verify", "recompute every hash of the versions").add_argument("model", nargs="?", metavar=version)
    verb("prove", "measure a version again in a fresh clone of its commit").add_argument("model", metavar=version)
    chosen = verb("rollback", "make the previous champion the champion again")
    chosen.add_argument("model", metavar="MODEL")
    chosen.add_argument("--by", default="", help="who decides (default: the current user)")
    chosen.add_argument("--reason", default="", help="why")
    chosen = verb("gc", "list old versions that can be deleted; delete them with --yes")
    chosen.add_argument(
        "--keep", type=int, default=_KEEP, metavar="N", help=f"newest versions of each model to keep (default: {_KEEP})"
    )
    chosen.add_argument("--cache", action="store_true", help="also clear DVC's cache")
    chosen.add_argument("--yes", action="store_true", help="delete")
    chosen = verb("links", "list the addresses of MLflow's pages: the runs of each task, and the models")
    chosen.add_argument("--ui", default=_UI, metavar="ADDRESS", help=f"address of MLflow's server (default: {_UI})")
    verb("sync", "register receipts that are missing from the store, and show the table")
    return parser


def _run(args: argparse.Namespace) -> bool:
    """Carry out the verb; returns whether something was found that is not as it should be."""
    from ..tracking.store import missing_database
    from . import lineage

    name = getattr(args, "model", None)
    target = lineage.parse(name) if name else None  # before a store is opened for a name that means nothing
    if args.verb != "sync" and (file := missing_database()):
        found = (
            f"no model is registered yet: {file} does not exist; run `make repro`, or set MLFLOW_TRACKING_URI to "
            f"another store"
        )
        if args.verb in _OF_A_VERSION:
            raise ValueError(found)
        print(found)
        return args.verb == "verify" and _verify_checkout(target)
    from ..tracking import mlflow_runs, pages
    from . import table, versions

    client = mlflow_runs.open_client()
    match args.verb:
        case "list":
            if target and target.version:
                raise ValueError(f"{name!r}: list takes a model, not a version; use `show {name}`")
            if not table.show_versions(client, target, args.data):
                print(f"no version was made from data {args.data}" if args.data else "no version yet; run `make repro`")
        case "verify":
            return _verify(client, target)
        case "gc":
            _collect(client, args)
        case "links":
            print("\n".join(pages.links(client, args.ui)), flush=True)
        case "sync":
            versions.sync()
            table.show_tasks()
        case verb:
            assert target is not None  # the parser has seen to that
            if verb == "prove":
                return _prove(client, target)
            if verb == "rollback":
                _roll_back(client, target, args)
            else:
                lineage.show(client, target)
    return False


def _verify(client: MlflowClient, target: Target | None) -> bool:
    from ..sources.dvc_cache import cache_folder
    from . import lineage, verify
    from .champion import get_version

    if target and target.version:
        versions = [get_version(client, target.name, target.version)]
    else:
        versions = [version for _, version in lineage.list_versions(client, target, None)]
    cache, differs = cache_folder(), False
    for version in versions:
        print(f"{version.name} version {version.version}")
        for finding in verify.verify(client, version, cache):
            print(finding)
            differs |= finding.state == "differs"
    return _verify_checkout(target) or differs


def _verify_checkout(target: Target | None) -> bool:
    from ..tasks.protocol import Task
    from . import verify

    differs = False
    print("this checkout")
    for task in [target.task] if target else map(Task, Task.names()):
        if receipt := verify.verify_receipt(task):
            print(receipt)
            differs |= receipt.state == "differs"
    return differs


def _prove(client: MlflowClient, target: Target) -> bool:
    from .champion import get_version
    from .decision import CHAMPION
    from .reproduce import reproduce

    version = get_version(client, target.name, target.version or CHAMPION)
    print(f"{version.name} version {version.version}, measured again:", flush=True)
    differs = False
    for finding in reproduce(client, target.task, version):
        print(finding, flush=True)
        differs |= finding.state != "ok"
    proven = "proven: the registered weights reach the recorded metrics"
    print("not proven: see the differences above" if differs else proven)
    return differs


def _roll_back(client: MlflowClient, target: Target, args: argparse.Namespace) -> None:
    from .champion import NONE, PREVIOUS_CHAMPION
    from .promotion import Review, roll_back

    if target.version:
        raise ValueError(f"{args.model!r}: rollback takes a model, not a version; it returns to the previous champion")
    came, left = roll_back(client, target.task, Review(by=args.by or getpass.getuser(), reason=args.reason))
    print(
        f"{target.name} version {came} is champion again; version {left} is not, and registering it again will not "
        f"make it champion"
    )
    before = client.get_model_version(target.name, came).tags.get(PREVIOUS_CHAMPION, NONE)
    if before != NONE:
        print(f"before it, version {before} was champion: another `rollback` goes back to that one")


def _collect(client: MlflowClient, args: argparse.Namespace) -> None:
    from . import garbage

    if args.keep < 1:
        raise ValueError(f"--keep: found {args.keep}; allowed: 1 or more")
    gone = 0
    for version in garbage.collect_versions(client, args.keep, delete=args.yes):
        gone += 1
        print(f"{'deleted' if args.yes else 'would delete'}: {version.name} version {version.version} and its files")
    if not gone:
        print(f"no version to delete: the newest {args.keep} of each model and all versions in use are kept")
    if args.cache:
        print(garbage.collect_cache(client, delete=args.yes))
    if not args.yes and (gone or args.cache):
        print("nothing was deleted; use --yes to delete")


if __name__ == "__main__":
    main()
