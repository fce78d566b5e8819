package dev.gatun.engine.data;

/** The part of a source: what a model learns from, or what it is measured on. */
public enum Split {
  TRAIN,
  TEST
}
