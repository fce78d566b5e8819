package dev.gatun.ffi;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A call of NVRTC that failed; for a source that does not compile the message is its first error as
 * {@code file:line: message}.
 */
public final class NvrtcException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** {@code common/a.cuh(12): error: text}, {@code a.cu(3): catastrophic error: text}. */
  private static final Pattern ERROR_LINE =
      Pattern.compile("(.+?)\\((\\d+)\\): (?:catastrophic |internal )?error(?: #[\\w-]+)?: (.*)");

  private final String log;

  NvrtcException(String message) {
    this(message, "");
  }

  private NvrtcException(String message, String log) {
    super(message);
    this.log = log;
  }

  /**
   * @param name of the source
   * @param status as NVRTC names it
   */
  static NvrtcException ofLog(String name, String status, String log) {
    Matcher first =
        log.lines().map(ERROR_LINE::matcher).filter(Matcher::matches).findFirst().orElse(null);
    if (first != null) {
      return new NvrtcException(
          first.group(1) + ":" + first.group(2) + ": " + first.group(3).strip(), log);
    }
    String line = log.lines().filter(text -> !text.isBlank()).findFirst().orElse(status).strip();
    return new NvrtcException(name + ": " + line, log);
  }

  /** All that the compiler said; empty where it was not the compiler that failed. */
  public String log() {
    return log;
  }
}
