/** 6DoF head pose and dense 3D face landmarks, in metres, in the browser. */

export * from "./camera.ts";
export { ErrorBars, LANDMARK_GROUPS, type Quantity } from "./errorBars.ts";
export {
  Face,
  type FaceNumbers,
  type FaceTopology,
  MAX_INTERPUPILLARY_M,
  MIN_INTERPUPILLARY_M,
  type PersonSize,
} from "./face.ts";
export {
  type Estimate,
  type EstimatorOptions,
  type FrameEstimate,
  HeadPoseEstimator,
  type Picture,
  type TrackOptions,
  type Tracker,
} from "./headPoseEstimator.ts";
export { type DetectorCard, type ModelCard, type PoseCard } from "./models.ts";
export { type RuntimeFiles } from "./protocol.ts";
export { CSV_HEADER, type FrameFaces, toCsvRows, toJsonLines } from "./records.ts";
export { type Matrix3, type Vector3 } from "./rotations.ts";
export { type Device } from "./runtime.ts";
export { STAGES, type Stage, type StageTimes } from "./stopwatch.ts";
export { TRACKING, type TrackingOptions } from "./tracker.ts";
export { type Box } from "./virtualCamera.ts";
