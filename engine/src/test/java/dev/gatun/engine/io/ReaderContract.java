package dev.gatun.engine.io;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import org.junit.jupiter.api.function.Executable;

/** What every reader of files promises, whatever the bytes. */
public final class ReaderContract {
  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  private ReaderContract() {}

  /** Reads something. */
  @FunctionalInterface
  public interface Reading {
    void run() throws IOException;
  }

  /** A one-line {@link FormatException} that names the file and contains each of {@code parts}. */
  public static void assertRefused(Path file, Executable reading, String... parts) {
    FormatException e = assertThrows(FormatException.class, reading);
    assertOneLine(e);
    assertTrue(e.getMessage().contains(file.getFileName().toString()), e.getMessage());
    for (String part : parts) {
      assertTrue(e.getMessage().contains(part), e.getMessage());
    }
  }

  /**
   * Succeeds or ends in a one-line {@link FormatException}, and takes no more memory than {@code
   * bytes}.
   */
  public static void assertHolds(long bytes, Reading reading) throws IOException {
    long allocated = allocatedBy(reading);
    if (allocated > bytes) { // the first time may have loaded classes: readers repeat themselves
      allocated = allocatedBy(reading);
    }
    assertTrue(allocated <= bytes, allocated + " bytes allocated, at most " + bytes + " expected");
  }

  private static long allocatedBy(Reading reading) throws IOException {
    long before = THREADS.getCurrentThreadAllocatedBytes();
    try {
      reading.run();
    } catch (FormatException e) {
      assertOneLine(e);
    }
    return THREADS.getCurrentThreadAllocatedBytes() - before;
  }

  private static void assertOneLine(Exception e) {
    String message = e.getMessage();
    assertTrue(message.lines().count() == 1 && message.length() < 1100, message);
  }
}
