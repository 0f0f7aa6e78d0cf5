"""C-STORE from the wire to the handler without pynetdicom's polling loops and without its data sets.

The documented way costs about 2 ms CPU for each instance, in data sets built for command, response and file meta
information, and as much waiting again: two threads serve an association and each sleeps 1 ms whenever it finds nothing
to do. Here both wait for what they need, and the thread that reads the connection takes a C-STORE itself, from the
request's P-DATA to the bytes of the answer.

Everything else stays pynetdicom's: negotiation, state machine, C-ECHO, N-EVENT-REPORT, release, abort, timers, and every
C-STORE that does not look as usual (a command in several fragments, a context that was not accepted). Nothing is taken
from the connection before it is certain who takes it. EVT_C_STORE and the notifications on PDUs and DIMSE messages do
not happen for the C-STORE requests that are taken here.

This rests on names that pynetdicom does not promise (those that begin with an underscore, below), so it is used with
the releases that it was tested with and with no other: see :func:`is_supported`.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pynetdicom
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.presentation import PresentationContext

TESTED_RELEASES = ("3.0.4",)

LONGEST_WAIT_S = 0.25
"""Timers are looked at this often when nothing happens."""

_DATA_PDU = 0x04
_PDU_HEAD, _PDV_HEAD, _ELEMENT_HEAD = struct.Struct(">BxL"), struct.Struct(">LBB"), struct.Struct("<HHL")
_COMMAND, _LAST = 1, 2  # message control header, PS3.8 section E.2
_STORE_REQUEST, _STORE_RESPONSE, _NO_DATA_SET = 0x0001, 0x8001, 0x0101  # PS3.7 section E.1
_LONGEST_COMMAND = 1024
_LARGEST_READ = 1 << 20

# elements of the command group, PS3.7 section E.1
_SOP_CLASS, _FIELD, _MESSAGE_ID, _RESPONDED_TO = 0x0002, 0x0100, 0x0110, 0x0120
_DATA_SET_TYPE, _STATUS, _COMMENT, _SOP_INSTANCE = 0x0800, 0x0900, 0x0902, 0x1000
_NEEDED = (_SOP_CLASS, _FIELD, _MESSAGE_ID, _DATA_SET_TYPE, _SOP_INSTANCE)

Elements = dict[int, bytes]
"""Element number in the command group to value."""


@dataclass(slots=True)
class Store:
    """One C-STORE request, complete, and what its presentation context was negotiated for."""

    sop_class_uid: str
    sop_instance_uid: str
    negotiated_class_uid: str
    transfer_syntax_uid: str
    data_set: bytes | list[memoryview]


Take = Callable[[Association, Store], tuple[int, str]]
"""Handles a request on the association; (status, Error Comment or nothing). Never raises."""


def is_supported() -> bool:
    """Whether the installed pynetdicom is one that this module was tested with."""
    return pynetdicom.__version__ in TESTED_RELEASES


def install(association: Association, take: Take) -> None:
    """Serve an association that an acceptor has just made and not started, as EVT_CONN_OPEN shows it."""
    checkpoint = _Checkpoint()
    association.dul = _Provider(association, take, checkpoint)
    association._reactor_checkpoint = checkpoint  # noqa: SLF001 - see above


class _Checkpoint(threading.Event):
    """What the association's loop passes once in each turn: it waits here for something to do."""

    def __init__(self) -> None:
        super().__init__()
        self._something_to_do = threading.Event()
        self.set()

    def set(self) -> None:
        super().set()
        self._something_to_do.set()

    def wake(self) -> None:
        self._something_to_do.set()

    def wait(self, timeout: float | None = None) -> bool:
        self._something_to_do.wait(LONGEST_WAIT_S)
        self._something_to_do.clear()
        return super().wait(timeout)


class _Wakeup:
    """Ends the wait for the connection from another thread."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def set(self) -> None:
        # full: it is awake already; closed: nobody waits any more
        with suppress(OSError):
            self._writer.send(b"\0")

    def wait_for(self, connection: socket.socket | None, timeout_s: float) -> bool:
        """Wait until the connection has data or is closed, which is True, until ``set`` is called, or for a time."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        if connection is not None:
            with suppress(ValueError, OSError):  # just closed: the provider finds out next
                poll.register(connection, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(timeout_s * 1e3)}
        if self._reader.fileno() in ready:
            self._reader.recv(4096)
            ready.discard(self._reader.fileno())
        return bool(ready)

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


class _InvalidPdu(ValueError):
    """The peer broke PS3.8: the association is aborted."""


@dataclass(slots=True)
class _Incoming:
    """A C-STORE request whose data set is arriving."""

    command: Elements
    context_id: int
    fragments: list[memoryview] = field(default_factory=list)
    begun: bool = False
    """The command, which was read before its PDU was taken, has gone by."""
    complete: bool = False

    def add(self, fragment: memoryview, context_id: int, control: int) -> None:
        if not self.begun:
            self.begun = True
            return
        if self.complete or control & _COMMAND or context_id != self.context_id:
            raise _InvalidPdu
        self.fragments.append(fragment)
        self.complete = bool(control & _LAST)


class _Provider(DULServiceProvider):
    """The upper layer of one association. One thread runs it, from the first PDU to the end of the connection."""

    def __init__(self, association: Association, take: Take, checkpoint: _Checkpoint) -> None:
        super().__init__(association)
        # what the association has set up already; an accepted connection's first event is in the queue
        documented = association.dul
        self.socket, self.event_queue = documented.socket, documented.event_queue
        self._idle_timer, self.artim_timer = documented._idle_timer, documented.artim_timer  # noqa: SLF001 - see above
        self._run_loop_delay = 0  # it waits for the connection instead
        self._take = take
        self._checkpoint = checkpoint
        self._wakeup = _Wakeup()
        self._incoming: _Incoming | None = None

    # ------------------------------------------------------------ waiting

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        finally:
            self._checkpoint.wake()
            self._wakeup.close()

    def send_pdu(self, primitive: Any) -> None:
        super().send_pdu(primitive)
        self._wakeup.set()

    def kill_dul(self) -> None:
        super().kill_dul()
        self._wakeup.set()

    def stop_dul(self) -> bool:
        if self.state_machine.current_state != "Sta1":
            return False
        self.kill_dul()
        self.join()
        return True

    def _is_transport_event(self) -> bool:
        if not self.to_user_queue.empty() or not self.assoc.dimse.msg_queue.empty():
            self._checkpoint.wake()
        while self._is_free() and self._wait():
            if not self._take_next():
                break
        if not self.event_queue.empty():
            return True
        return bool(super()._is_transport_event())

    def _is_free(self) -> bool:
        """Whether nothing but the connection and the timers asks for this thread."""
        return (
            self.event_queue.empty()
            and self.to_provider_queue.empty()
            and self.state_machine.current_state != "Sta13"
            and not self._kill_thread
        )

    def _wait(self) -> bool:
        """Whether the connection has data, after waiting for it for a while."""
        return self._wakeup.wait_for(self.socket.socket if self.socket else None, LONGEST_WAIT_S)

    # ------------------------------------------------------------ reading

    def _take_next(self) -> bool:
        """Read the next PDU if it belongs to a C-STORE that is taken here, and answer if it is the last of it."""
        try:
            length = self._length_of_ours()
            if length is None:
                self._incoming = None
                return False
            pdu = self._receive(length)
            if len(pdu) < length:
                raise ConnectionError("closed inside a PDU")
            self._walk(pdu)
        except _InvalidPdu:
            self._end("Evt19")
        except OSError:
            self._end("Evt17")
        else:
            self._serve_if_complete()
            self._idle_timer.restart()
        return True

    def _end(self, event: str) -> None:
        """Evt17: the connection is closed; Evt19: an invalid PDU came (PS3.8 table 9-6)."""
        self._incoming = None
        self.event_queue.put(event)

    def _length_of_ours(self) -> int | None:
        """Length of the next PDU, its head included, if it belongs to a C-STORE that is taken here.

        The PDU stays in the connection. None leaves it to pynetdicom.
        """
        head = self._peek(_PDU_HEAD.size)
        if len(head) < _PDU_HEAD.size or self.state_machine.current_state != "Sta6":
            return None
        kind, length = _PDU_HEAD.unpack(head)
        if kind != _DATA_PDU:
            return None
        length += _PDU_HEAD.size
        if self._incoming is None:
            self._incoming = self._beginning(length)
        return None if self._incoming is None else length

    def _beginning(self, length: int) -> _Incoming | None:
        """The C-STORE request that begins with the next PDU, if one does and pynetdicom is not inside a message."""
        between_messages = self.assoc.dimse.message is None and self.event_queue.empty()
        if not between_messages or 0 < (self.assoc.requestor.maximum_length or 0) < _LONGEST_COMMAND:
            return None
        begin = self._peek(min(length, _LONGEST_COMMAND))
        if len(begin) < _PDU_HEAD.size + _PDV_HEAD.size:
            return None
        size, context_id, control = _PDV_HEAD.unpack_from(begin, _PDU_HEAD.size)
        end = _PDU_HEAD.size + 4 + size
        if control & 3 != _COMMAND | _LAST or end > len(begin):
            return None
        if context_id not in self.assoc._accepted_cx:  # noqa: SLF001 - see above
            return None
        command = command_elements(begin[_PDU_HEAD.size + _PDV_HEAD.size : end])
        return _Incoming(command, context_id) if is_store_request(command) else None

    def _walk(self, pdu: bytes) -> None:
        """Take the fragments out of a P-DATA-TF PDU (PS3.8 sections 9.3.5 and E.2)."""
        assert self._incoming is not None
        view, position = memoryview(pdu), _PDU_HEAD.size
        while position < len(pdu):
            if len(pdu) - position < _PDV_HEAD.size:
                raise _InvalidPdu
            size, context_id, control = _PDV_HEAD.unpack_from(pdu, position)
            end = position + 4 + size
            if size < 2 or end > len(pdu):
                raise _InvalidPdu
            self._incoming.add(view[position + _PDV_HEAD.size : end], context_id, control)
            position = end

    def _peek(self, count: int) -> bytes:
        return self._connection().recv(count, socket.MSG_PEEK | socket.MSG_WAITALL)

    def _receive(self, count: int) -> bytes:
        """``count`` bytes, fewer if the connection ends. A peer's word alone reserves no more than one large read."""
        if count <= _LARGEST_READ:
            return self._connection().recv(count, socket.MSG_WAITALL)
        received = bytearray()
        while len(received) < count:
            some = self._connection().recv(min(count - len(received), _LARGEST_READ))
            if not some:
                break
            received += some
        return bytes(received)

    def _connection(self) -> socket.socket:
        connection = self.socket.socket if self.socket else None
        if connection is None:
            raise ConnectionError("the connection is closed")
        return connection

    # ------------------------------------------------------------ answering

    def _serve_if_complete(self) -> None:
        incoming = self._incoming
        if incoming is None or not incoming.complete:
            return
        self._incoming = None
        # the peer is not silent while it waits for its answer
        self._idle_timer.stop()
        context = self.assoc._accepted_cx[incoming.context_id]  # noqa: SLF001 - see above
        status, comment = self._take(self.assoc, _store(incoming, context))
        # not is_established: the association's own thread may not have come to set it since it accepted
        if self.state_machine.current_state == "Sta6" and self.socket:
            self.socket.send(response_pdu(incoming.command, incoming.context_id, status, comment))


# ---------------------------------------------------------------- bytes


def command_elements(encoded: bytes) -> Elements:
    """Elements of a command set, which is always implicit VR little endian (PS3.7 6.3.1); empty if it is not sound."""
    elements: Elements = {}
    position = 0
    while position + _ELEMENT_HEAD.size <= len(encoded):
        group, element, length = _ELEMENT_HEAD.unpack_from(encoded, position)
        value = encoded[position + _ELEMENT_HEAD.size : position + _ELEMENT_HEAD.size + length]
        if group != 0 or len(value) < length:
            return {}
        elements[element] = value
        position += _ELEMENT_HEAD.size + length
    return elements if position == len(encoded) else {}


def is_store_request(command: Elements) -> bool:
    """Whether the command is a C-STORE-RQ with all that it must have, and a data set follows (PS3.7 9.3.1.1)."""
    return (
        all(command.get(element) for element in _NEEDED)
        and all(len(command[element]) == 2 for element in (_FIELD, _MESSAGE_ID, _DATA_SET_TYPE))
        and command[_FIELD] == _us(_STORE_REQUEST)
        and command[_DATA_SET_TYPE] != _us(_NO_DATA_SET)
    )


def response_pdu(command: Elements, context_id: int, status: int, comment: str) -> bytes:
    """The C-STORE-RSP to ``command`` (PS3.7 9.3.1.2) as one P-DATA-TF PDU."""
    elements = {
        _SOP_CLASS: command[_SOP_CLASS],
        _FIELD: _us(_STORE_RESPONSE),
        _RESPONDED_TO: command[_MESSAGE_ID],
        _DATA_SET_TYPE: _us(_NO_DATA_SET),
        _STATUS: _us(status),
        _SOP_INSTANCE: command[_SOP_INSTANCE],
    }
    if comment:
        elements[_COMMENT] = comment.encode("ascii", "replace")
    encoded = b"".join(_element(element, elements[element]) for element in sorted(elements))
    encoded = _element(0x0000, struct.pack("<L", len(encoded))) + encoded
    value = _PDV_HEAD.pack(len(encoded) + 2, context_id, _COMMAND | _LAST) + encoded
    return _PDU_HEAD.pack(_DATA_PDU, len(value)) + value


def _store(incoming: _Incoming, context: PresentationContext) -> Store:
    return Store(
        sop_class_uid=_uid(incoming.command[_SOP_CLASS]),
        sop_instance_uid=_uid(incoming.command[_SOP_INSTANCE]),
        negotiated_class_uid=str(context.abstract_syntax),
        transfer_syntax_uid=str(context.transfer_syntax[0]),
        data_set=incoming.fragments,
    )


def _uid(value: bytes) -> str:
    """As text, whatever it holds: the handler checks it."""
    return value.rstrip(b"\0 ").decode("latin-1")


def _us(number: int) -> bytes:
    return struct.pack("<H", number)


def _element(element: int, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    return _ELEMENT_HEAD.pack(0, element, len(value)) + value
