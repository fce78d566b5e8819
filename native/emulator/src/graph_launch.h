// graph_launch.h - a checked launch with copied parameters, shared by launches and graph nodes.
#ifndef GATUN_GRAPH_LAUNCH_H_
#define GATUN_GRAPH_LAUNCH_H_

#include "driver.h"

namespace gatun {

/** How a launch runs, beside its grid. */
struct LaunchMode {
  bool cooperative = false;
  dim3 cluster;
};

int prepareLaunch(Function* function, dim3 grid, dim3 block, unsigned sharedBytes, LaunchMode mode,
                  void** parameters, void** extra, std::shared_ptr<KernelLaunch>* out);

}  // namespace gatun

#endif
