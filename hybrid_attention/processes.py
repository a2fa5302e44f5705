"""The processes of a training run: this one alone, or those that torchrun started.

Every process draws the whole batch, which is a function of the seed and the step, and works on its own rows of it.
What they add up, and the gradients, are those of the whole batch, whatever the number of processes.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, distributed, nn

from hybrid_attention.errors import InputError, RunStopped

if TYPE_CHECKING:
    from lightning_fabric import Fabric

DeviceName = Literal["cpu", "cuda", "auto"]

_PATIENCE = 5.0  # seconds
_LONGEST_MESSAGE = 4096  # bytes
_LOST = ("gloo", "nccl", "connection closed", "connection reset")  # in errors of a group that has lost a member


def started() -> int:
    """How many processes torchrun started for this command, this one among them; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def speaks() -> bool:
    """Whether this process is the one that prints: the first of all, or of its machine while they have not met."""
    if started() == 1:
        return True
    return os.environ["RANK" if distributed.is_initialized() else "LOCAL_RANK"] == "0"


def say(message: str, same_in_all: bool = True) -> None:
    """One line on standard error, from one process of those that all say the same.

    The others wait: torchrun ends all as soon as one has failed, and that must not be before the line is out.

    Args:
        message: without the program's name.
        same_in_all: whether it is; False says it from here in any case.
    """
    if speaks() or not same_in_all:
        print(f"hybrid-attention: {message}", file=sys.stderr, flush=True)
    else:
        time.sleep(_PATIENCE)


def require_one(command: str) -> None:
    """Refuse a command that knows nothing of other processes.

    Args:
        command: its name.

    Raises:
        InputError: it was started by torchrun more than once.
    """
    if started() > 1:
        raise InputError(
            f"torchrun --nproc-per-node: {started()} processes were started, but {command} is the work of one; start "
            f"it without torchrun (only train takes several)"
        )


def choose_device(name: DeviceName, beside: int = 1) -> str:
    """The kind of device that a name stands for on this machine.

    Args:
        name: "cpu", "cuda", or "auto" for CUDA where it is there.
        beside: processes on this machine, each of which takes a GPU of its own.

    Returns:
        "cpu" or "cuda".

    Raises:
        InputError: CUDA without enough GPUs.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if not torch.cuda.is_available():
        build = "" if torch.version.cuda else ", a build without CUDA"
        raise InputError(f"--device is {name}, but PyTorch {torch.__version__}{build} finds no GPU here; use cpu")
    found = torch.cuda.device_count()
    if found < beside:
        raise InputError(
            f"--device is {name}, but {beside} processes share {found} GPUs here; give torchrun --nproc-per-node "
            f"{found}"
        )
    return "cuda"


class Processes:
    """What the processes of a run do together, by Lightning Fabric over torch.distributed.

    Making one joins the group that torchrun described to this process. A process alone needs no engine.

    Args:
        device: where each of them computes.

    Raises:
        InputError: a device that is not there, or machines with different numbers of processes.
    """

    def __init__(self, device: DeviceName = "cpu") -> None:
        self.count, self.rank = started(), 0
        if self.count == 1:
            self.device = torch.device(choose_device(device))
            return
        beside, machines = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["GROUP_WORLD_SIZE"])
        if beside * machines != self.count:
            raise InputError(
                f"--nproc-per-node is {beside} here, but there are {self.count} processes on {machines} machines; give "
                "torchrun the same number on every machine"
            )
        kind = choose_device(device, beside)
        self._fabric = _joined(kind, beside, machines)
        self.rank, self.device = self._fabric.global_rank, self._fabric.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def rows(self, total: int) -> range:
        """The rows that are this process's: neighbours, and as many as any other's, or one more or less.

        Args:
            total: rows of all processes together.
        """
        return range(total * self.rank // self.count, total * (self.rank + 1) // self.count)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model as training must call it, so that gradients are those of all rows; all get the first's parameters.

        Args:
            model: moved to this process's device.
        """
        if self.count == 1:
            return model
        with self._in_touch():
            wrapped: nn.Module = self._fabric.setup_module(model)
        return wrapped

    def backward(self, share: Tensor) -> None:
        """Gradients of the sum of the shares of all processes, the same in each.

        Args:
            share: of the loss, a scalar.
        """
        if self.count == 1:
            share.backward()
            return
        with self._in_touch():  # gradients are averaged over processes: the factor makes sums of averages
            self._fabric.backward(share * self.count)

    def total(self, share: Tensor) -> Tensor:
        """The sum of a tensor over all processes, the same in each.

        Args:
            share: of one shape in all.
        """
        if self.count == 1:
            return share
        with self._in_touch():
            summed = self._fabric.all_reduce(share.to(self.device, copy=True), reduce_op="sum")
        return cast(Tensor, summed).to(share.device)

    def gather(self, text: str) -> list[str]:
        """A text of every process, by rank; what is very long is cut.

        Args:
            text: this process's.
        """
        if self.count == 1:
            return [text]
        told = text.encode()[:_LONGEST_MESSAGE].ljust(_LONGEST_MESSAGE, b"\0")
        everyone = torch.zeros(self.count, _LONGEST_MESSAGE, dtype=torch.uint8)
        everyone[self.rank] = torch.tensor(list(told), dtype=torch.uint8)
        return [bytes(one.tolist()).rstrip(b"\0").decode(errors="ignore") for one in self.total(everyone)]

    @contextmanager
    def agreeing(self, kind: type[Exception]) -> Iterator[None]:
        """What stops one process inside the block stops all of them, with the message of the first that it stopped.

        Args:
            kind: of exception; made from a message alone.
        """
        if self.count == 1:
            yield
            return
        problem = None
        try:
            yield
        except kind as error:
            problem = error
        said = [message for message in self.gather(str(problem or "")) if message]
        if said:
            raise kind(said[0]) from problem

    def require_same(self, what: str, remedy: str) -> None:
        """Refuse to go on where processes differ.

        Args:
            what: a description that must be the same in all.
            remedy: what to do.

        Raises:
            InputError: names the first that differs from process 0, and how.
        """
        said = self.gather(what)
        for rank, other in enumerate(said):
            if other != said[0]:
                raise InputError(f"process {rank} has {other}, but process 0 has {said[0]}; {remedy}")

    def close(self) -> None:
        """Leave the group, where there is one."""
        if distributed.is_initialized():
            distributed.destroy_process_group()

    @contextmanager
    def _in_touch(self) -> Iterator[None]:
        """Say in one line that another process is gone."""
        try:
            yield
        except RuntimeError as error:
            if not any(word in str(error).lower() for word in _LOST):
                raise
            raise RunStopped("another process of this run has stopped; go on with --resume") from error


def _joined(kind: str, beside: int, machines: int) -> Fabric:
    """The engine, in the group that torchrun described; imported here, since one process does without it."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells of every process that joins
    # buffers never differ and need not be sent in every step; PyTorch has another name for that in newer versions
    known = signature(nn.parallel.DistributedDataParallel.__init__).parameters
    buffers: dict[str, Any] = {
        "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False
    }
    fabric = Fabric(
        accelerator=kind,
        devices=beside,
        num_nodes=machines,
        strategy=DDPStrategy(**buffers, gradient_as_bucket_view=True),
        plugins=[TorchElasticEnvironment()],
    )
    fabric.launch()
    return fabric
