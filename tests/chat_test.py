"""The program as a person meets it: a chat on a terminal, Ctrl-C, prompts from files and pipes."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

from conftest import DEMO, ROOT

PROGRAM = os.environ.get("NPUMOE", str(ROOT / "build" / "release" / "npumoe"))
CHAT = ["run", str(DEMO), "--chat-template", "chatml", "--temp", "0", "-n", "12"]


class Terminal:
    """The program on a pseudo-terminal; what it wrote is read up to a pattern."""

    def __init__(self, *arguments):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(PROGRAM, [PROGRAM, *map(str, arguments)])
        self.seen = ""

    def expect(self, pattern, seconds=60):
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            left = deadline - time.monotonic()
            assert left > 0, f"'{pattern}' did not come; seen: {self.seen}"
            if select.select([self.fd], [], [], left)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:  # the program has closed its terminal
                    assert re.search(pattern, self.seen), f"ended; seen: {self.seen}"
        match = re.search(pattern, self.seen)
        text, self.seen = self.seen[:match.end()], self.seen[match.end():]
        return text

    def send(self, text):
        os.write(self.fd, text.encode())

    def exit_code(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def chat(request):
    terminal = Terminal(*CHAT, *getattr(request, "param", []))
    terminal.expect(">>> ")
    yield terminal
    try:
        os.kill(terminal.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def turn_of(chat, text):
    """Sends a turn; returns how many prompt tokens were prefilled for it."""
    chat.send(text + "\n")
    line = chat.expect(r"\[(\d+) prompt tokens in [^\]]*\]")
    chat.expect(">>> ")
    return int(re.search(r"\[(\d+) prompt", line).group(1))


def test_a_later_turn_prefills_only_what_is_new(chat):
    chat.send("/verbose\n")
    chat.expect(">>> ")
    first = turn_of(chat, "Tell me about the great river and the king who crossed it.")
    second = turn_of(chat, "And?")
    assert first > 20
    assert second < first


def test_clear_forgets_the_conversation(chat):
    chat.send("/verbose\n")
    chat.expect(">>> ")
    first = turn_of(chat, "One and two.")
    turn_of(chat, "Three and four.")
    chat.send("/clear\n")
    chat.expect(">>> ")
    again = turn_of(chat, "One and two.")
    assert 1 <= again <= first  # the shared start of the template may still be cached


def test_bye_leaves_and_unknown_commands_are_named(chat):
    chat.send("/frobnicate\n")
    chat.expect("unknown command /frobnicate")
    chat.send("/bye\n")
    assert chat.exit_code() == 0


@pytest.mark.parametrize("chat", [["-n", "100000", "-c", "4096"]], indirect=True)
def test_ctrl_c_stops_the_reply_but_not_the_chat(chat):
    chat.send("Count for ever.\n")
    chat.expect(r"Count for ever\.\r\n.")  # the echo, and the first character of the reply
    chat.send("\x03")
    chat.expect(">>> ")
    chat.send("\x03")  # at the prompt it explains how to leave
    chat.expect("/bye or Ctrl-D")
    chat.send("/bye\n")
    assert chat.exit_code() == 0


def test_ctrl_c_ends_a_single_run_with_130():
    process = subprocess.Popen([PROGRAM, "run", str(DEMO), "Count", "-n", "4000", "--temp", "0"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(1)  # it has begun to answer
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"interrupted" in message


def needle():
    return (DEMO / "needle_question.txt").read_text()


ANSWER = ("run", DEMO, "-n", 8, "--temp", 0, "--json")


def test_a_prompt_is_the_same_from_argument_file_and_pipe(npumoe, tmp_path):
    file = tmp_path / "prompt.txt"
    file.write_text(needle() + "\n")  # editors end files with a line feed that nobody means
    texts = {json.loads(npumoe(*ANSWER, *extra, stdin=stdin))["text"]
             for extra, stdin in (((needle(),), None), (("-f", file), None), ((), needle() + "\n"))}
    assert len(texts) == 1
    assert texts.pop().strip().startswith("4821907")


def test_the_same_seed_gives_the_same_text(npumoe):
    sample = ("run", DEMO, "In the beginning", "-n", 24, "--temp", 1.5, "--json", "--seed")
    first, again, other = (json.loads(npumoe(*sample, seed))["ids"] for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_progress_stays_off_stdout(npumoe, tmp_path):
    out = npumoe("calibrate", DEMO, "--data", DEMO / "calibration_sample.txt", "--max-tokens", 2048,
                 "-o", tmp_path / "c.json", "--json")
    assert json.loads(out)["tokens"] == 2048


def test_calibrations_merge_without_a_text(npumoe, tmp_path):
    parts = []
    for name in ("calibration_sample.txt", "held_out_text.txt"):
        parts.append(tmp_path / f"{name}.json")
        npumoe("calibrate", DEMO, "--data", DEMO / name, "--max-tokens", 2048, "-o", parts[-1])
    merged = json.loads(npumoe("calibrate", DEMO, "--merge", *parts, "--json", "-o",
                               tmp_path / "m.json"))
    assert merged["tokens"] == 4096


@pytest.mark.parametrize("command", ["run", "show", "tokenize", "calibrate", "plan", "compile",
                                     "verify", "perplexity", "dump", "doctor", "bench", "version"])
def test_every_command_explains_itself_with_an_example(npumoe, command):
    assert "Example:" in npumoe(command, "--help")
