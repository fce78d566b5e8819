package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The Java side of the protocol, with shell scripts in the worker's place: no Python is needed. */
class PyTorchWorkerTest {
  private static final Duration LONG = Duration.ofSeconds(30);
  private static final Map<String, ?> HELLO = Map.of("command", "hello");

  @TempDir Path folder;

  private PyTorchWorker start(String script) throws IOException {
    Path file = Files.writeString(folder.resolve("worker"), script + "\n");
    return PyTorchWorker.start("/bin/sh", file, folder);
  }

  private PyTorchWorker.Refused refused(PyTorchWorker worker, Duration limit) {
    return assertThrows(PyTorchWorker.Refused.class, () -> worker.call(HELLO, limit));
  }

  @Test
  void aReplyFollowsEachCommand() throws Exception {
    String script =
        """
        n=0
        while read -r line; do
          n=$((n + 1))
          case $line in *quit*) exit 0;; *'"command":"hello"'*) ;; *) exit 9;; esac
          echo "{\\"ok\\": true, \\"id\\": $n, \\"value\\": $((10 * n))}"
        done\
        """;
    try (PyTorchWorker worker = start(script)) {
      for (int n = 1; n <= 3; n++) {
        JsonNode reply = worker.call(HELLO, LONG);
        assertEquals(10 * n, reply.path("value").asInt());
      }
      assertTrue(worker.isAlive());
    }
  }

  @Test
  void aNoHasItsKindAndTheWorkerGoesOn() throws Exception {
    String script =
        """
        read -r line; echo '{"ok": false, "id": 1, "kind": "memory", "error": "too large"}'
        read -r line; echo '{"ok": true, "id": 2}'
        read -r line\
        """;
    try (PyTorchWorker worker = start(script)) {
      PyTorchWorker.Refused no = refused(worker, LONG);
      assertEquals("memory", no.kind());
      assertEquals("too large", no.getMessage());
      assertFalse(no.fatal());
      assertTrue(worker.call(HELLO, LONG).path("ok").asBoolean());
    }
  }

  @Test
  void whatTakesTooLongIsKilled() throws Exception {
    try (PyTorchWorker worker = start("trap '' TERM; while :; do sleep 1; done")) {
      PyTorchWorker.Refused late = refused(worker, Duration.ofSeconds(1));
      assertEquals("time", late.kind());
      assertTrue(late.fatal());
      assertTrue(late.getMessage().contains("hello took more than 1 s"), late.getMessage());
      assertFalse(worker.isAlive());
      assertEquals("ended", refused(worker, LONG).kind());
    }
  }

  @Test
  void anEndIsToldWithItsLastWords() throws Exception {
    String script = "read -r line; echo first >&2; echo 'CUDA error: gone' >&2; exit 7";
    try (PyTorchWorker worker = start(script)) {
      PyTorchWorker.Refused end = refused(worker, LONG);
      assertEquals("ended", end.kind());
      assertTrue(end.getMessage().endsWith("exit code 7 at hello: CUDA error: gone"), end + "");
    }
  }

  @Test
  void whatIsNoReplyEndsIt() throws Exception {
    for (String line : new String[] {"Welcome!", "[]", "{\"ok\": true}", "{\"id\": 5}"}) {
      try (PyTorchWorker worker = start("read -r line; echo '" + line + "'; read -r line")) {
        PyTorchWorker.Refused end = refused(worker, LONG);
        assertEquals("ended", end.kind());
        assertTrue(end.getMessage().endsWith(line), end.getMessage());
        assertFalse(worker.isAlive());
      }
    }
  }

  @Test
  void closingEndsItWhateverItDoes() throws Exception {
    PyTorchWorker worker = start("trap '' TERM INT; while :; do sleep 1; done");
    long before = System.nanoTime();
    worker.close();
    worker.close();
    assertFalse(worker.isAlive());
    assertTrue(System.nanoTime() - before < 10e9);
  }

  @Test
  void aMissingPyTorchIsOneLineThatSaysHowToGetIt() throws Exception {
    String script = "echo 'PyTorch cannot be imported by /x: No module' >&2; exit 3";
    try (PyTorchWorker worker = start(script)) {
      UsageException e = assertThrows(UsageException.class, () -> worker.call(HELLO, LONG));
      assertTrue(e.getMessage().contains("cannot be imported by /x"), e.getMessage());
      assertTrue(e.getMessage().contains("/bin/sh -m pip install torch"), e.getMessage());
      assertTrue(e.getMessage().contains("--python"), e.getMessage());
    }
  }

  @Test
  void theScriptsAreInTheBuild() throws Exception {
    Path script = PyTorchWorker.scripts(folder);
    assertTrue(Files.readString(script).contains("def answer("), script.toString());
    for (String name : new String[] {"networks.py", "sampling.py", "training.py", "checks.py"}) {
      assertTrue(Files.size(script.resolveSibling(name)) > 1000, name);
    }
    // each that another one imports is there
    try (var all = Files.list(script.getParent())) {
      for (Path file : all.filter(f -> f.toString().endsWith(".py")).toList()) {
        for (String line : Files.readAllLines(file)) {
          if (line.matches("(import|from) [a-z_]+( import .*)?")) {
            String name = line.split(" ")[1];
            boolean own = Files.exists(Path.of("peers/pytorch", name + ".py"));
            assertTrue(!own || Files.exists(script.resolveSibling(name + ".py")), line);
          }
        }
      }
    }
  }

  @Test
  void wrongUseOfTheCommandIsOneLine() {
    Cli.run("bench", "gpu", "--device", "cpu", "--peer", "djl").fails(2, "pytorch", "'djl'");
    Cli.run("bench", "gpu", "--device", "cpu", "--python", "python3").fails(2, "--peer pytorch");
    Cli.run("bench", "gpu", "--device", "cpu", "--minutes", "0").fails(2, "--minutes");
    Cli.run("bench", "conv", "--quick").fails(2, "--quick", "bench gpu");
    Object[] missing = {
      "bench", "gpu", "--device", "cpu", "--peer", "pytorch", "--python", "/no/py"
    };
    Cli.run(missing).fails(2, "'/no/py'", "install Python");
  }
}
