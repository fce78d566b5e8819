package dev.gatun.engine.cuda;

import dev.gatun.engine.DeviceException;
import dev.gatun.engine.OutOfMemoryException;
import dev.gatun.ffi.CudaContext;
import dev.gatun.ffi.CudaException;
import dev.gatun.ffi.CudaPool;
import dev.gatun.ffi.CudaStream;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a device has of its GPU's memory, given and taken in the order of its stream, and never more
 * than {@code gatun.cuda.limit} says. Whoever calls has entered the device.
 */
final class CudaMemory implements AutoCloseable {
  private static final Pattern LIMIT = Pattern.compile("(\\d{1,9})([MG])iB");

  private final String name;
  private final CudaContext context;
  private final CudaStream stream;
  private final CudaPool pool;
  private final long limitBytes;
  private final Map<Long, Long> taken = new HashMap<>(); // bytes by address
  private long takenBytes;
  private long scratch;
  private long scratchBytes;

  /**
   * Makes a pool.
   *
   * @param name of the device, for messages
   * @param limitBytes as {@link #limit} says
   */
  CudaMemory(String name, CudaContext context, CudaStream stream, long limitBytes) {
    this.name = name;
    this.context = context;
    this.stream = stream;
    this.limitBytes = limitBytes;
    pool = context.createPool();
  }

  /**
   * Bytes that {@code gatun.cuda.limit} allows; as many as there are where it says nothing.
   *
   * @throws DeviceException in one line if it is not a size
   */
  static long limit() {
    String value = System.getProperty("gatun.cuda.limit");
    if (value == null) {
      return Long.MAX_VALUE;
    }
    Matcher matcher = LIMIT.matcher(value);
    if (!matcher.matches()) {
      throw new DeviceException(
          "property gatun.cuda.limit is '" + value + "': expected a size such as 512MiB or 8GiB");
    }
    return Long.parseLong(matcher.group(1)) << (matcher.group(2).equals("M") ? 20 : 30);
  }

  /**
   * Zeroed memory.
   *
   * @throws OutOfMemoryException if the GPU or the limit has no room for it
   */
  long allocate(long sizeBytes) {
    if (sizeBytes > limitBytes - takenBytes) {
      throw noRoom(
          sizeBytes,
          "gatun.cuda.limit is " + size(limitBytes),
          "use a smaller batch or raise the limit",
          null);
    }
    long address;
    try {
      address = pool.allocate(sizeBytes, stream);
    } catch (CudaException e) {
      if (!e.isOutOfMemory()) {
        throw e;
      }
      long[] memory = context.memory();
      throw noRoom(
          sizeBytes,
          size(memory[0]) + " of " + size(memory[1]) + " free",
          "use a smaller batch or close what is not needed",
          e);
    }
    try {
      context.zero(address, sizeBytes, stream);
    } catch (CudaException e) {
      if (!e.isFatal()) {
        pool.free(address, stream);
      }
      throw e;
    }
    taken.put(address, sizeBytes);
    takenBytes += sizeBytes;
    return address;
  }

  private OutOfMemoryException noRoom(long bytes, String why, String remedy, CudaException cause) {
    return new OutOfMemoryException(
        "%s has no room for %s: %s, %s allocated here; %s"
            .formatted(name, size(bytes), why, size(takenBytes), remedy),
        cause);
  }

  /** Takes memory back once the stream's work so far is done; a second time does nothing. */
  void free(long address) {
    Long bytes = taken.remove(address);
    if (bytes != null) {
      takenBytes -= bytes;
      pool.free(address, stream);
    }
  }

  /**
   * Memory that launches share for what does not outlive them, since they run one after another; it
   * stays as long as the device.
   */
  long scratch(long sizeBytes) {
    if (sizeBytes > scratchBytes) {
      // what a recorded launch was given stays its own, and few are made
      long bytes = Math.max(sizeBytes, 2 * scratchBytes);
      try {
        scratch = allocate(bytes);
      } catch (OutOfMemoryException e) {
        if (bytes == sizeBytes) {
          throw e;
        }
        bytes = sizeBytes;
        scratch = allocate(bytes);
      }
      scratchBytes = bytes;
    }
    return scratch;
  }

  CudaPool.Statistics statistics() {
    return pool.statistics();
  }

  /** Gives the GPU back what is not in use; the stream has nothing to do. */
  void trim() {
    pool.trim(0);
  }

  /** Gives all of it back. */
  @Override
  public void close() {
    try {
      for (long address : taken.keySet()) {
        pool.free(address, stream);
      }
      stream.synchronize();
    } finally {
      taken.clear();
      pool.close();
    }
  }

  static String size(long bytes) {
    String[] units = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = bytes;
    int unit = 0;
    while (value >= 1024 && unit < units.length - 1) {
      value /= 1024;
      unit++;
    }
    return unit == 0 ? bytes + " bytes" : String.format(Locale.ROOT, "%.1f %s", value, units[unit]);
  }
}
