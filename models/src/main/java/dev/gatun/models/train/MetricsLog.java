package dev.gatun.models.train;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.gatun.engine.io.AtomicFile;
import dev.gatun.models.Model;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;

/** The lines of metrics.jsonl: one JSON object each, in the order of their steps. */
public final class MetricsLog implements AutoCloseable {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Path file;
  private final FileChannel channel;

  /**
   * One line.
   *
   * @param step the last of the steps it sums up
   * @param objective what training minimizes
   * @param loss its mean over these steps, each before its update
   * @param imagesPerSecond over these steps
   * @param seconds spent on training so far, that before a resume included
   */
  public record Line(
      long step, Model.Objective objective, double loss, double imagesPerSecond, double seconds) {
    private String text() {
      ObjectNode node = JSON.createObjectNode();
      node.put("step", step);
      node.put(objective.key(), loss);
      node.put("imagesPerSecond", imagesPerSecond);
      node.put("seconds", seconds);
      return node + "\n";
    }

    /** The line that an object holds; null where it is not one of ours. */
    private static Line of(JsonNode node) {
      for (Model.Objective objective : Model.Objective.values()) {
        if (node.hasNonNull("step") && node.hasNonNull(objective.key())) {
          return new Line(
              node.get("step").asLong(),
              objective,
              node.get(objective.key()).asDouble(),
              node.path("imagesPerSecond").asDouble(),
              node.path("seconds").asDouble());
        }
      }
      return null;
    }
  }

  private MetricsLog(Path file, FileChannel channel) {
    this.file = file;
    this.channel = channel;
  }

  /** Opens the log to go on after a step: what was written of later ones is dropped. */
  static MetricsLog after(Path file, long step) throws IOException {
    StringBuilder kept = new StringBuilder();
    for (Line line : read(file)) {
      if (line.step() <= step) {
        kept.append(line.text());
      }
    }
    AtomicFile.write(file, kept.toString().getBytes(StandardCharsets.UTF_8));
    return new MetricsLog(
        file, FileChannel.open(file, StandardOpenOption.WRITE, StandardOpenOption.APPEND));
  }

  /** The whole lines of a log; what a kill cut off is left out. */
  static List<Line> read(Path file) throws IOException {
    List<Line> lines = new ArrayList<>();
    if (!Files.exists(file)) {
      return lines;
    }
    for (String text : Files.readString(file, StandardCharsets.UTF_8).lines().toList()) {
      try {
        Line line = Line.of(JSON.readTree(text));
        if (line != null) {
          lines.add(line);
        }
      } catch (JsonProcessingException e) {
        break;
      }
    }
    return lines;
  }

  /** Adds a line, at once. */
  public void append(Line line) throws IOException {
    byte[] text = line.text().getBytes(StandardCharsets.UTF_8);
    ByteBuffer buffer = ByteBuffer.wrap(text);
    try {
      while (buffer.hasRemaining()) {
        channel.write(buffer);
      }
    } catch (IOException e) {
      throw new IOException("cannot write " + file + ": " + e.getMessage(), e);
    }
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
