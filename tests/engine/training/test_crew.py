"""A crew learns what one learner would, in an order of its own that never changes."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from engine.tasks.heads import Dropout
from engine.training.crew import Crew, Replicas, couples_pictures, lookalikes, size_for


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def gradients(size: int, images: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
    net = network()
    replicas = Replicas(net, size)

    def learn(member: int) -> None:
        part = slice(member, None, size)
        loss = nn.functional.cross_entropy(replicas[member](images[part]), labels[part]) * len(labels[part]) / len(labels)
        loss.backward()

    with Crew(size, size) as crew:
        crew.each(learn)
    replicas.gather()
    return [weight.grad.clone() for weight in net.parameters() if weight.grad is not None]


@pytest.mark.parametrize("size", [2, 3])
def test_shares_give_the_gradients_of_the_whole(size: int) -> None:
    images, labels = torch.randn(12, 3, 9, 9), torch.randint(0, 4, (12,))
    for whole, shared in zip(gradients(1, images, labels), gradients(size, images, labels), strict=True):
        torch.testing.assert_close(shared, whole, rtol=1e-4, atol=1e-6)


def test_shares_give_the_same_bits_every_time() -> None:
    images, labels = torch.randn(12, 3, 33, 33), torch.randint(0, 4, (12,))
    first = gradients(2, images, labels)
    assert all(torch.equal(one, other) for _ in range(5) for one, other in zip(first, gradients(2, images, labels), strict=True))


def test_lookalikes_follow_the_weights_and_keep_their_own_gradients() -> None:
    net = network()
    _, other = lookalikes(net, 2)
    with torch.no_grad():
        net[0].weight.fill_(0.5)
    assert bool((other[0].weight == 0.5).all())
    other(torch.randn(2, 3, 9, 9)).sum().backward()
    assert net[0].weight.grad is None
    assert other[0].weight.grad is not None


def test_frozen_weights_stay_frozen_in_lookalikes_and_modes_follow() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    net[0].requires_grad_(False)
    replicas = Replicas(net, 2)
    assert not replicas[1].get_parameter("0.weight").requires_grad
    net.eval()
    replicas.follow()
    assert not any(module.training for module in replicas[1].modules())


def test_normalising_by_the_batch_couples_pictures_only_while_it_learns() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    assert couples_pictures(net)
    assert not couples_pictures(net.eval())
    assert not couples_pictures(network())


@pytest.mark.parametrize(("threads", "batch", "size"), [(1, 32, 1), (2, 32, 2), (2, 7, 1), (16, 32, 8), (6, 32, 6), (4, 8, 2)])
def test_every_member_has_as_many_threads_and_enough_pictures(threads: int, batch: int, size: int) -> None:
    assert size_for(threads, batch) == size


def test_all_work_at_the_same_time_and_a_failure_is_told_after_all_have_ended() -> None:
    met, ended = threading.Barrier(2, timeout=30), []

    def work(member: int) -> None:
        met.wait()
        if member == 0:
            raise MemoryError("no room")
        ended.append(member)

    with Crew(2, 2) as crew, pytest.raises(MemoryError, match="no room"):
        crew.each(work)
    assert ended == [1]


def test_afterwards_operations_have_all_threads_again() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with Crew(2, 2) as crew:
            assert crew.each(lambda _: torch.get_num_threads()) == [1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_running_statistics_become_the_mean_of_the_shares() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    replicas, images = Replicas(net, 2), torch.randn(8, 3)
    replicas.follow()
    for member, part in enumerate(images.chunk(2)):
        replicas[member](part).square().sum().backward()
    apart = [replicas[member].get_buffer("1.running_mean").clone() for member in (0, 1)]
    assert not torch.equal(*apart)
    replicas.gather()
    for member in (0, 1):
        torch.testing.assert_close(replicas[member].get_buffer("1.running_mean"), (apart[0] + apart[1]) / 2)


def test_dropout_draws_from_the_step_alone_and_differs_between_members() -> None:
    replicas, images = Replicas(nn.Sequential(Dropout(0.5)), 2), torch.ones(4, 64)
    replicas.follow()

    def drawn(*seed: int) -> list[torch.Tensor]:
        replicas.begin(*seed)
        torch.randn(3)  # what else draws meanwhile plays no part
        return [replicas[member](images) for member in (0, 1)]

    first, again, later = drawn(0, 5), drawn(0, 5), drawn(0, 6)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert not torch.equal(*first)
    assert not torch.equal(first[0], later[0])
