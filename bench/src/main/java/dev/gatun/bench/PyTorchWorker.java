package dev.gatun.bench;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * PyTorch in a Python process of its own: a JSON command a line to it, a JSON reply a line from it.
 * Closing ends the process, whatever it is doing.
 */
final class PyTorchWorker implements AutoCloseable {
  /** What {@code worker.py} exits with where there is no PyTorch. */
  private static final int NO_TORCH = 3;

  private static final List<String> SCRIPTS =
      List.of(
          "worker.py",
          "checks.py",
          "convolutions.py",
          "denoising.py",
          "kernels.py",
          "likelihoods.py",
          "machine.py",
          "networks.py",
          "safetensors_file.py",
          "sampling.py",
          "training.py",
          "unet.py");

  private static final Duration GRACE = Duration.ofSeconds(5);
  private static final ObjectMapper JSON = new ObjectMapper();

  /** What the worker says no to, or that it is not there any more. */
  static final class Refused extends Exception {
    private static final long serialVersionUID = 1L;

    private final String kind;

    Refused(String kind, String message) {
      super(message);
      this.kind = kind;
    }

    /**
     * As the worker's own: usage, unavailable, disagreement, memory, internal; or {@code time} and
     * {@code ended}, after which there is no worker.
     */
    String kind() {
      return kind;
    }

    boolean fatal() {
      return kind.equals("time") || kind.equals("ended");
    }
  }

  private final String python;
  private final Process process;
  private final BufferedWriter commands;
  private final BlockingQueue<Optional<String>> replies = new LinkedBlockingQueue<>();
  private final Path errors;
  private long id;
  private boolean over;

  private PyTorchWorker(String python, Process process, Path errors) {
    this.python = python;
    this.process = process;
    this.errors = errors;
    commands = process.outputWriter(StandardCharsets.UTF_8);
    Thread.ofPlatform().daemon().name("gatun-peer").start(this::read);
  }

  private void read() {
    try (BufferedReader reader = process.inputReader(StandardCharsets.UTF_8)) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        replies.add(Optional.of(line));
      }
    } catch (IOException e) {
      // the process was killed: the same as its end
    }
    replies.add(Optional.empty());
  }

  /**
   * Starts a process.
   *
   * @param python its interpreter; looked up on the PATH where it is a bare name
   * @param script what it runs
   * @param work a folder for what it writes to standard error
   * @throws UsageException in one line, if there is no such interpreter
   */
  static PyTorchWorker start(String python, Path script, Path work) throws IOException {
    Path errors = Files.createTempFile(work, "peer", ".err");
    ProcessBuilder builder = new ProcessBuilder(python, "-u", script.toString());
    builder.redirectError(errors.toFile());
    // nothing of ours is on its path, and it leaves nothing behind in the checkout
    builder.environment().put("PYTHONDONTWRITEBYTECODE", "1");
    try {
      return new PyTorchWorker(python, builder.start(), errors);
    } catch (IOException e) {
      throw new UsageException(
          "--peer pytorch: cannot start '"
              + python
              + "': install Python 3.9 or newer with PyTorch, or name it with --python",
          e);
    }
  }

  /** The scripts: the checkout's own, or else those in the jar, unpacked into a folder. */
  static Path scripts(Path work) throws IOException {
    String root = System.getProperty("gatun.root");
    if (root != null) {
      Path here = Path.of(root, "bench", "peers", "pytorch", SCRIPTS.getFirst());
      if (Files.isRegularFile(here)) {
        return here;
      }
    }
    Path folder = Files.createDirectories(work.resolve("pytorch"));
    for (String name : SCRIPTS) {
      try (InputStream in = PyTorchWorker.class.getResourceAsStream("pytorch/" + name)) {
        if (in == null) {
          throw new IOException("this build has no pytorch/" + name + ": build it again");
        }
        Files.write(folder.resolve(name), in.readAllBytes());
      }
    }
    return folder.resolve(SCRIPTS.getFirst());
  }

  /**
   * Sends a command and waits for its reply.
   *
   * @param limit after which the process is killed
   * @throws Refused if the worker says no, says nothing in time, or has ended
   * @throws UsageException in one line, if its Python has no PyTorch
   */
  JsonNode call(Map<String, ?> command, Duration limit) throws Refused {
    if (over) {
      throw new Refused("ended", "the PyTorch worker has ended");
    }
    ObjectNode request = JSON.valueToTree(command);
    request.put("id", ++id);
    String what = request.path("command").asText();
    try {
      commands.write(request.toString());
      commands.newLine();
      commands.flush();
    } catch (IOException e) {
      throw ended(what);
    }
    Optional<String> line;
    try {
      line = replies.poll(limit.toMillis(), TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      close();
      throw new Refused("ended", "interrupted while the PyTorch worker was at " + what);
    }
    if (line == null) {
      close();
      throw new Refused("time", what + " took more than " + limit.toSeconds() + " s: killed");
    }
    if (line.isEmpty()) {
      throw ended(what);
    }
    return reply(what, line.get());
  }

  private JsonNode reply(String what, String line) throws Refused {
    JsonNode reply;
    try {
      reply = JSON.readTree(line);
    } catch (JsonProcessingException e) {
      reply = null;
    }
    if (reply == null || !reply.isObject() || reply.path("id").asLong() != id) {
      close();
      String start = line.length() > 200 ? line.substring(0, 200) + " ..." : line;
      throw new Refused("ended", "what it said to " + what + " is no reply to it: " + start);
    }
    if (!reply.path("ok").asBoolean()) {
      throw new Refused(reply.path("kind").asText("internal"), reply.path("error").asText(what));
    }
    return reply;
  }

  private Refused ended(String what) {
    over = true;
    String how = "";
    try {
      if (process.waitFor(GRACE.toMillis(), TimeUnit.MILLISECONDS)) {
        if (process.exitValue() == NO_TORCH) {
          close();
          throw new UsageException(
              "--peer pytorch: "
                  + lastError()
                  + "; install it with '"
                  + python
                  + " -m pip install torch', or name a Python that has it with --python");
        }
        how = " with exit code " + process.exitValue();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    String last = lastError();
    close();
    return new Refused(
        "ended",
        "the PyTorch worker ended" + how + " at " + what + (last.isEmpty() ? "" : ": " + last));
  }

  /** The last line that it wrote to standard error. */
  private String lastError() {
    try {
      List<String> lines =
          new String(Files.readAllBytes(errors), StandardCharsets.UTF_8)
              .lines()
              .filter(l -> !l.isBlank())
              .toList();
      return lines.isEmpty() ? "" : lines.getLast().strip();
    } catch (IOException e) {
      return "";
    }
  }

  boolean isAlive() {
    return process.isAlive();
  }

  @Override
  public void close() {
    over = true;
    try {
      commands.write("{\"command\": \"quit\"}\n");
      commands.close();
    } catch (IOException e) {
      // it has ended already
    }
    process.destroy();
    try {
      if (!process.waitFor(1, TimeUnit.SECONDS)) {
        process.destroyForcibly().waitFor(GRACE.toMillis(), TimeUnit.MILLISECONDS);
      }
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }
}
