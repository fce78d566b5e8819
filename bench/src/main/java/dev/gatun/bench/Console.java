package dev.gatun.bench;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintStream;

/** The two streams: results for programs on one, everything for people on the other. */
final class Console {
  private final PrintStream out;
  private final PrintStream err;

  Console(PrintStream out, PrintStream err) {
    this.out = out;
    this.err = err;
  }

  PrintStream out() {
    return out;
  }

  PrintStream err() {
    return err;
  }

  /** A line for people. */
  void say(String line) {
    err.println(line);
  }

  /** The one JSON object of a command. */
  void json(Object value) {
    out.println(toJson(value));
    out.flush();
  }

  static String toJson(Object value) {
    try {
      return new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(value);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }

  /**
   * Columns of the terminal that {@code err} goes to, as the launcher found them; 0 if it is none.
   */
  int columns() {
    return err == System.err ? Integer.getInteger("gatun.columns", 0) : 0;
  }
}
