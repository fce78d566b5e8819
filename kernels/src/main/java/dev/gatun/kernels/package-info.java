/** CUDA kernels in the forms the build made, and how each is launched. */
package dev.gatun.kernels;
