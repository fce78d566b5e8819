package dev.gatun.bench;

/** What was looked at on a device beside its ops, and what was seen. */
record DeviceCheck(String name, String detail, boolean passed) {}
