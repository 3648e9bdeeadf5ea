"""Cinder's API, scheduler and one volume service a backend, all in this process.

usage: servers.py --config-file CINDER.CONF

They are Cinder's own in every part.  Its programs would make one process of each, which need a message broker and a
database server; in one process the in-memory transport and SQLite will do.
"""

from cinder import monkey_patch

monkey_patch.patch()  # before anything else is imported

import contextlib  # noqa: E402
import gc  # noqa: E402
import importlib.util  # noqa: E402
import io  # noqa: E402
import logging as standard_logging  # noqa: E402
import os  # noqa: E402
import pathlib  # noqa: E402
import shlex  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
import types  # noqa: E402

import os_brick  # noqa: E402
from cinder import coordination, i18n, objects, privsep, rpc, service, utils, version  # noqa: E402
from cinder.common import config, constants  # noqa: E402
from os_brick.privileged import default as brick_privileges  # noqa: E402
from oslo_concurrency import processutils  # noqa: E402
from oslo_config import cfg  # noqa: E402
from oslo_db.sqlalchemy import engines  # noqa: E402
from oslo_log import log  # noqa: E402
from oslo_messaging._drivers import impl_fake  # noqa: E402
from oslo_privsep import priv_context  # noqa: E402
from oslo_serialization import jsonutils  # noqa: E402
from oslo_service import service as launching  # noqa: E402
from sqlalchemy import event, pool  # noqa: E402

CONF = cfg.CONF


class Service(service.Service):
    """A service that is not alone: Cinder keeps the id whose heartbeat is written once for the class."""

    def report_state(self) -> None:
        """Write the heartbeat of this one."""
        service.Service.service_id = self.origin_service_id
        super().report_state()


def on_the_wire(value):
    """Return what arrives at the other end of a real transport: a copy, made of plain values."""
    return jsonutils.loads(jsonutils.dumps(value))


class Exchange(impl_fake.FakeExchange):
    """The in-memory transport hands over the very objects, which the receiver may then change."""

    def deliver_message(self, topic, ctxt, message, *args, **more):
        """Pass a message on as a copy."""
        super().deliver_message(topic, on_the_wire(ctxt), on_the_wire(message), *args, **more)


def copy_replies() -> None:
    """Have answers copied as well."""
    reply = impl_fake.FakeIncomingMessage.reply

    def copied(self, answer=None, failure=None):
        reply(self, on_the_wire(answer), failure)

    impl_fake.FakeIncomingMessage.reply = copied


def keep_connections() -> None:
    """Have connections to the database used again: with SQLite each question makes one, a fifth of all the work.

    As some stay open, SQLite does not clear its journal away after each question either.
    """

    class Kept(pool.QueuePool):
        def __init__(self, creator, **more):
            super().__init__(creator, **{**more, "pool_size": 20, "max_overflow": -1})
            event.listen(self, "reset", lambda connection, record, state: record.info.pop("in_transaction", None))

    engines.pool = types.SimpleNamespace(**{**vars(pool), "NullPool": Kept})


def spare_processes() -> None:
    """Have commands started by a small process, and none for what root may do: in the guest, processes are dear."""
    path = pathlib.Path(__file__).resolve().parents[2] / "guest.d/commands.py"
    found = importlib.util.spec_from_file_location("commands", path)
    commands = importlib.util.module_from_spec(found)
    found.loader.exec_module(commands)
    commands.use(processutils, commands.start())
    for context in (privsep.sys_admin_pctxt, brick_privileges):
        context.set_client_mode(False)


def spare_rtstool() -> None:
    """Have Cinder's own command for the kernel's target, of which an image takes ten, run inside this process.

    Each start of it loads Python, Cinder and a library, which takes longer there than all else of the image.
    """
    from cinder.cmd import rtstool
    from cinder.volume.targets import lio
    from rtslib_fb import tcm

    def execute(*command, run_as_root=False):
        if command[1] == "save":  # all targets, for the next start of this kernel, which has none
            return "", ""
        out, problem = io.StringIO(), ""
        tcm.bs_cache.clear()  # a new process would know of nothing, either
        try:
            with contextlib.redirect_stdout(out):
                code = rtstool.main([str(word) for word in command])
        except SystemExit as end:
            code = end.code
        except Exception:
            code, problem = 1, traceback.format_exc()
        if code:
            raise processutils.ProcessExecutionError(out.getvalue(), problem, code, " ".join(command[:2]))
        return out.getvalue(), problem

    lio.utils = types.SimpleNamespace(execute=execute)


def main() -> None:
    """Serve until a signal comes."""
    impl_fake.FakeExchange = Exchange
    copy_replies()
    keep_connections()
    i18n.enable_lazy()
    objects.register_all()
    CONF(sys.argv[1:], project="cinder", version=version.version_string())
    config.set_middleware_defaults()
    log.setup(CONF, "cinder")
    standard_logging.captureWarnings(True)
    priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
    if "GUEST" in os.environ:
        spare_processes()
        spare_rtstool()
    os_brick.setup(CONF)
    coordination.COORDINATOR.start()
    rpc.init(CONF)

    launcher = launching.ServiceLauncher(CONF, restart_method="mutate")
    launcher.launch_service(Service.create(binary=constants.SCHEDULER_BINARY))
    for backend in CONF.enabled_backends:
        made = Service.create(
            host=f"{CONF.host}@{backend}", service_name=backend, binary=constants.VOLUME_BINARY, coordination=False
        )
        launcher.launch_service(made)
    launcher.launch_service(service.WSGIService("osapi_volume"))
    gc.freeze()  # what was loaded stays: it is not looked through again and again
    gc.set_threshold(20_000, 20, 20)
    launcher.wait()


if __name__ == "__main__":
    main()
