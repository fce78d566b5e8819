package dev.gatun.engine.io;

import java.io.IOException;
import java.nio.file.Path;

/**
 * A file is not what its format asks for; the message is one line: which file, what, what to do.
 */
public final class FormatException extends IOException {
  private static final long serialVersionUID = 1L;
  private static final int MAX_LENGTH = 1000;
  private static final int MAX_QUOTED = 80;

  /**
   * A problem in a file.
   *
   * @param file the file or folder at fault
   * @param problem what is wrong with it
   * @param remedy what the reader of the message can do
   */
  public FormatException(Path file, String problem, String remedy) {
    this(file, problem, remedy, null);
  }

  /** The same with the exception that revealed the problem, or null. */
  public FormatException(Path file, String problem, String remedy, Throwable cause) {
    super(oneLine(file + ": " + problem + "; " + remedy, MAX_LENGTH), cause);
  }

  /** Text taken from a file, in quotes, shortened, and safe to show in a one-line message. */
  static String quote(String text) {
    return "'" + oneLine(text, MAX_QUOTED) + "'";
  }

  private static String oneLine(String text, int maxLength) {
    StringBuilder line = new StringBuilder(Math.min(text.length(), maxLength));
    for (int i = 0; i < text.length(); i++) {
      if (line.length() >= maxLength) {
        return line.append("...").toString();
      }
      char c = text.charAt(i);
      if (Character.isISOControl(c) || c == '\u2028' || c == '\u2029') {
        line.append(String.format("\\u%04x", (int) c));
      } else {
        line.append(c);
      }
    }
    return line.toString();
  }
}
