"""Brackets against enumeration of all balanced words, text against plain slicing."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from hybrid_attention.tasks import BracketsTask, SeasonsTask, TextTask
from hybrid_attention.tasks.base import IGNORED
from hybrid_attention.tasks.text import built_in_text


def words(length, types):
    """Every balanced sequence: type t opens with t and closes with types + t."""
    found = []
    for sequence in itertools.product(range(2 * types), repeat=length):
        stack = []
        for token in sequence:
            if token < types:
                stack.append(token)
            elif not stack or stack.pop() != token - types:
                break
        else:
            if not stack:
                found.append(sequence)
    return found


def sequences(batch, types):
    """Whole sequences from inputs, and targets where inputs end."""
    tokens, targets = batch
    last = targets[:, -1:] + types  # the last bracket always closes
    return torch.cat([tokens[:, 1:], last], 1)


@pytest.mark.parametrize(("length", "types"), [(4, 2), (6, 2), (4, 3)])
def test_sequences_are_balanced_and_training_and_validation_share_none(length, types):
    task = BracketsTask(length, types)
    every = set(words(length, types))
    assert len(every) == math.comb(length, length // 2) // (length // 2 + 1) * types ** (length // 2)
    training = {tuple(row) for row in sequences(task.training_batch(20_000, 0, 0), types).tolist()}
    held_out = {tuple(row) for row in sequences(task.validation(20_000), types).tolist()}
    assert training | held_out == every
    assert not training & held_out
    assert training
    assert held_out


def test_long_sequences_are_balanced_too():
    task = BracketsTask(200, 10)
    for row in sequences(task.training_batch(20, 0, 0), 10).tolist():
        stack = []
        for token in row:
            if token < 10:
                stack.append(token)
            else:
                assert stack.pop() == token - 10
        assert not stack


@pytest.mark.parametrize("held_out", [False, True])
def test_sequences_are_uniform_over_the_words_of_their_side(held_out):
    length, types = 6, 2
    task = BracketsTask(length, types)
    size = 20_000
    drawn = sequences(task.validation(size) if held_out else task.training_batch(size, 1, 2), types)
    distinct, counts = torch.unique(drawn, dim=0, return_counts=True)
    assert len(distinct) > 1
    assert stats.chisquare(counts.numpy()).pvalue > 1e-6
    # words drawn with one fair coin for each bracket that may open or close are not uniform, and must not pass
    shapes = {}
    for word in distinct.tolist():
        coins, depth = 0, 0
        for position, token in enumerate(word):
            coins += 0 < depth < length - position
            depth += 1 if token < types else -1
        shapes[tuple(word)] = 0.5**coins
    expected = np.array([shapes[tuple(word)] for word in distinct.tolist()])
    if len(set(expected)) > 1:
        assert stats.chisquare(counts.numpy(), expected / expected.sum() * size).pvalue < 1e-6


def test_a_tenth_is_held_out():
    task = BracketsTask(16, 4)
    drawn = task._uniform(50_000, np.random.default_rng(0))
    from hybrid_attention.tasks.split import is_held_out

    share = is_held_out(drawn).mean()
    assert abs(share - 0.1) < 5 * math.sqrt(0.09 / 50_000)
    assert is_held_out(sequences(task.validation(100), 4).numpy()).all()
    assert not is_held_out(sequences(task.training_batch(100, 0, 0), 4).numpy()).any()


def test_inputs_are_shifted_and_targets_are_at_closers_only():
    types = 3
    task = BracketsTask(8, types)
    tokens, targets = task.training_batch(100, 0, 0)
    assert tokens.shape == targets.shape == (100, 8)
    assert (tokens[:, 0] == task.start).all()
    assert not (tokens[:, 1:] == task.start).any()
    following = tokens[:, 1:]
    closes = following >= types
    assert torch.equal(targets[:, :-1][closes], following[closes] - types)
    assert (targets[:, :-1][~closes] == IGNORED).all()
    assert (targets != IGNORED).sum(1).eq(4).all()
    assert (task.vocabulary, task.classes, task.chance) == (2 * types + 1, types, 1 / types)


@pytest.mark.parametrize(
    "make",
    [lambda: BracketsTask(6), lambda: SeasonsTask(6), lambda: TextTask("".join(map(chr, range(40, 120))) * 9, 6)],
)
def test_batches_are_functions_of_seed_and_step(make):
    first, second = make(), make()
    for seed, step in ((0, 0), (0, 1), (1, 0), (5, 999)):
        a, b = first.training_batch(16, seed, step), second.training_batch(16, seed, step)
        assert torch.equal(a.tokens, b.tokens)
        assert torch.equal(a.targets, b.targets)
    different = [first.training_batch(16, *which).tokens for which in ((0, 0), (0, 1), (1, 0))]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(different, 2))
    assert torch.equal(first.validation(30).tokens, second.validation(30).tokens)


def test_bracket_prompts():
    task = BracketsTask(8, 2)
    assert task.encode("([") == [4, 0, 1]
    assert task.encode("[]") == [4, 1, 3]
    assert task.labels(torch.tensor([4, 0, 3])) == ["⊢", "(", "]"]
    for prompt, message in (("(a", "'a' at position 1"), ("(]", r"'\]' at position 1"), (")", "closes no open")):
        with pytest.raises(ValueError, match=message):
            task.encode(prompt)


@pytest.mark.parametrize(
    ("length", "types", "message"),
    [
        (7, 4, "length is 7; balanced brackets need an even length"),
        (0, 4, "length is 0"),
        (8, 0, "types is 0; give 1 to 10"),
        (8, 11, "types is 11; give 1 to 10"),
        (2, 1, "of only 1 different sequences none can be held out"),
    ],
)
def test_bad_brackets_are_refused(length, types, message):
    with pytest.raises(ValueError, match=message):
        BracketsTask(length, types)


TEXT = "".join(chr(200 + i) for i in range(1000))  # every character says where it is from


def test_text_is_split_by_position_and_targets_are_the_next_characters():
    task = TextTask(TEXT, 7)
    training = {TEXT[i : i + 8] for i in range(900 - 7)}
    for tokens, targets in zip(*task.training_batch(200, 3, 4), strict=True):
        window = task.decode(tokens.tolist()) + task.decode(targets.tolist())[-1]
        assert window in training
        assert torch.equal(tokens[1:], targets[:-1])
    tokens, targets = task.validation()
    starts = range(900, 1000 - 7, 7)
    assert [task.decode(row.tolist()) for row in tokens] == [TEXT[i : i + 7] for i in starts]
    assert [task.decode(row.tolist()) for row in targets] == [TEXT[i + 1 : i + 8] for i in starts]


def test_every_training_window_is_drawn_up_to_the_last():
    task = TextTask(TEXT[:100], 3)
    tokens, targets = task.training_batch(5000, 0, 0)
    assert tokens[:, 0].unique().tolist() == list(range(90 - 3))
    assert targets.max() == 89


def test_some_of_the_validation_is_spread_over_the_whole():
    task = TextTask(TEXT * 2, 7)
    every, some = task.validation().tokens, task.validation(5).tokens
    assert len(some) == 5
    assert torch.equal(some[0], every[0])
    assert torch.equal(some[-1], every[-1])
    assert len(task.validation(10**6).tokens) == len(every)


def test_vocabulary():
    task = TextTask("bca\n " * 100, 5)
    assert task.characters == "\n abc"
    assert task.vocabulary == task.classes == 5
    assert task.encode("cab") == [4, 2, 3]
    assert task.labels(torch.tensor([0, 1, 2])) == ["↵", "␣", "a"]
    again = TextTask("cab" * 200, 5, task.state()["characters"])
    assert again.encode("cab") == task.encode("cab")
    with pytest.raises(ValueError, match="'z', which is not in the run's vocabulary"):
        TextTask("zab" * 200, 5, task.characters)
    alone = TextTask.without_text(5, task.characters)
    assert alone.decode(alone.encode("cab\n")) == "cab\n"


def test_unicode_is_counted_in_characters(tmp_path):
    path = tmp_path / "greek.txt"
    path.write_text("αβγδ⟨⟩" * 40, encoding="utf-8")
    task = TextTask.from_file(path, 8)
    assert task.characters == "αβγδ⟨⟩"
    assert task.training_batch(4, 0, 0).tokens.shape == (4, 8)


def test_line_ends_are_kept(tmp_path):
    path = tmp_path / "windows.txt"
    path.write_bytes(b"ab\r\n" * 50)
    assert TextTask.from_file(path, 4).characters == "\n\rab"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist; give a UTF-8 text file"),
        (b"", "is empty"),
        (b"abc\xff\xfe", "is not UTF-8 .byte 0xff at position 3.; convert it to UTF-8"),
        (b"short", "has 5 characters; a context of --length 8 needs at least 90"),
        (b"a" * 89, "has 89 characters"),
    ],
)
def test_bad_files_are_refused(tmp_path, content, message):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        TextTask.from_file(path, 8)


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        TextTask.from_file(tmp_path, 8)


@pytest.mark.parametrize("length", [1, 2, 8, 9, 31])
def test_the_shortest_text_that_is_taken_has_a_window_on_both_sides(tmp_path, length):
    path = tmp_path / "text.txt"
    for size in range(1, 12 * (length + 2)):
        path.write_text("x" * size)
        try:
            task = TextTask.from_file(path, length)
        except ValueError:
            continue
        assert task.training_batch(3, 0, 0).tokens.shape == (3, length)
        assert len(task.validation().tokens) >= 1
        assert size < 11 * (length + 2)
        return
    raise AssertionError("no size was taken")


def test_the_built_in_text_is_english_and_stays_the_same():
    text = built_in_text()
    assert len(text) > 100_000
    assert text.count(" the ") > 1000
    assert text == built_in_text()
    task = TextTask.from_file("", 8)
    assert task.encode("the ")


def test_a_real_text(tinyshakespeare):
    task = TextTask.from_file(tinyshakespeare, 8)
    assert task.vocabulary == 65
    assert len(task.validation().tokens) == (111_540 - 8 + 7) // 8


@pytest.mark.parametrize(("prompt", "message"), [("", "--prompt is empty"), (TEXT[:2] + "#", "'#' at position 2")])
def test_bad_prompts_are_refused(prompt, message):
    with pytest.raises(ValueError, match=message):
        TextTask(TEXT, 7).encode(prompt)
