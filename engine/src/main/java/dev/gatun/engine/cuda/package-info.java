/** GPUs through the CUDA driver, and the emulator that stands in for one. */
package dev.gatun.engine.cuda;
