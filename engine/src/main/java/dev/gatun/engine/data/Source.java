package dev.gatun.engine.data;

import java.io.IOException;

/** A recognised place with images, before any of them is read. */
interface Source {
  /** The format's name, for people. */
  String format();

  /** Whether it has a training and a test part of its own. */
  boolean hasSplits();

  /** Reads the part, or all there is where {@link #hasSplits} is false. */
  Dataset read(Split split) throws IOException;
}
