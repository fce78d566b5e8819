package dev.gatun.bench;

import java.io.PrintStream;

/** Where {@code gatun} starts. */
public final class Main {
  private Main() {}

  public static void main(String[] args) {
    StandardError.restore();
    // charts are drawn, never shown
    System.setProperty("java.awt.headless", "true");
    int code = run(args, System.out, System.err);
    System.out.flush();
    System.exit(code);
  }

  /**
   * Runs one command in this process.
   *
   * @param out gets results meant for programs, err all that is meant for people
   * @return the exit code: 0, 2 for a usage or input error, 130 after Ctrl-C, 1 for anything else
   */
  public static int run(String[] args, PrintStream out, PrintStream err) {
    return GatunCommand.commandLine(new Console(out, err), args).execute(args);
  }
}
