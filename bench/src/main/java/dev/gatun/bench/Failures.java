package dev.gatun.bench;

import dev.gatun.engine.OutOfMemoryException;
import dev.gatun.engine.ShapeException;
import dev.gatun.engine.UnsupportedOpException;
import dev.gatun.engine.io.FormatException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.InvalidPathException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;

/** From an exception to an exit code and one line. */
final class Failures {
  static final int USAGE = 2;
  static final int OTHER = 1;

  private Failures() {}

  /** Says what happened and returns the exit code. */
  static int report(Throwable failure, Console console) {
    console.err().println("gatun: " + line(failure));
    if (System.getenv("GATUN_DEBUG") != null) {
      failure.printStackTrace(console.err());
    }
    return isUsage(failure) ? USAGE : OTHER;
  }

  private static boolean isUsage(Throwable failure) {
    return failure instanceof UsageException
        || failure instanceof FormatException
        || failure instanceof UnsupportedOpException
        || failure instanceof NoSuchFileException
        || failure instanceof NotDirectoryException
        || failure instanceof FileAlreadyExistsException
        || failure instanceof AccessDeniedException
        || failure instanceof InvalidPathException;
  }

  private static String line(Throwable failure) {
    String message =
        failure.getMessage() == null ? "" : String.join(" ", failure.getMessage().split("\\R\\s*"));
    return switch (failure) {
      case UsageException e -> message;
      case AccessDeniedException e -> message + ": may not be read or written; check permissions";
      case FileAlreadyExistsException e -> message + ": is in the way; give another name";
      case NotDirectoryException e -> message + ": is not a folder; give a folder";
      case OutOfMemoryException e -> message + "; use a smaller --batch or --preset";
      case OutOfMemoryError e ->
          "Java ran out of memory (" + message + "); use a smaller --batch, --count or --preset";
      case ShapeException e -> message;
      default ->
          message.isEmpty() || isBug(failure)
              ? failure.getClass().getName()
                  + ": "
                  + message
                  + "; run again with GATUN_DEBUG=1 to see where"
              : message;
    };
  }

  private static boolean isBug(Throwable failure) {
    return failure instanceof NullPointerException
        || failure instanceof IndexOutOfBoundsException
        || failure instanceof ClassCastException
        || failure instanceof ArithmeticException
        || failure instanceof Error;
  }
}
