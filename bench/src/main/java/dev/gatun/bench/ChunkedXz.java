package dev.gatun.bench;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Queue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.tukaani.xz.FilterOptions;
import org.tukaani.xz.LZMA2Options;
import org.tukaani.xz.X86Options;
import org.tukaani.xz.XZOutputStream;

/** Compresses chunks side by side, each a stream of its own: together they are one .xz file. */
final class ChunkedXz extends OutputStream {
  private static final int CHUNK_BYTES = 32 << 20;

  private final OutputStream target;
  private final int preset;
  private final int threads = Math.max(1, Runtime.getRuntime().availableProcessors());
  private final ExecutorService executor = Executors.newFixedThreadPool(threads);
  private final Queue<Future<byte[]>> pending = new ArrayDeque<>();
  private byte[] chunk = new byte[CHUNK_BYTES];
  private int filled;

  /**
   * Compresses to a stream, which the caller closes.
   *
   * @param preset of xz, 0 to 9
   */
  ChunkedXz(OutputStream target, int preset) {
    this.target = target;
    this.preset = preset;
  }

  @Override
  public void write(int b) throws IOException {
    write(new byte[] {(byte) b}, 0, 1);
  }

  @Override
  public void write(byte[] bytes, int offset, int length) throws IOException {
    for (int done = 0; done < length; ) {
      int here = Math.min(length - done, CHUNK_BYTES - filled);
      System.arraycopy(bytes, offset + done, chunk, filled, here);
      filled += here;
      done += here;
      if (filled == CHUNK_BYTES) {
        submit();
      }
    }
  }

  private void submit() throws IOException {
    byte[] full = filled == CHUNK_BYTES ? chunk : Arrays.copyOf(chunk, filled);
    pending.add(executor.submit(() -> compress(full)));
    chunk = new byte[CHUNK_BYTES];
    filled = 0;
    while (pending.size() > threads) {
      drain();
    }
  }

  private byte[] compress(byte[] bytes) throws IOException {
    ByteArrayOutputStream compressed = new ByteArrayOutputStream();
    FilterOptions[] filters = {new X86Options(), new LZMA2Options(preset)};
    try (XZOutputStream xz = new XZOutputStream(compressed, filters)) {
      xz.write(bytes);
    }
    return compressed.toByteArray();
  }

  private void drain() throws IOException {
    try {
      target.write(pending.remove().get());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while compressing", e);
    } catch (ExecutionException e) {
      throw new IOException("compression failed: " + e.getCause(), e);
    }
  }

  @Override
  public void close() throws IOException {
    try {
      if (filled > 0) {
        submit();
      }
      while (!pending.isEmpty()) {
        drain();
      }
    } finally {
      executor.shutdownNow();
    }
  }
}
