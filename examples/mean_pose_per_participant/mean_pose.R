# Mean head pose per participant, in base R: a row for each video. See mean_pose.py for the columns.
#
#     trg predict recordings/ -o out --format csv
#     Rscript mean_pose.R participants.csv out/*.csv

given <- commandArgs(trailingOnly = TRUE)
angles <- c("yaw_sight_deg", "pitch_sight_deg", "roll_sight_deg")  # or "yaw_deg", ...
min_confidence <- 0.5
block_s <- 10

# A rotation from yaw, pitch and roll: R = Rz(roll) Rx(pitch) Ry(yaw).
to_rotation <- function(deg) {
  s <- sin(deg * pi / 180)
  c <- cos(deg * pi / 180)
  ry <- matrix(c(c[1], 0, -s[1], 0, 1, 0, s[1], 0, c[1]), 3)
  rx <- matrix(c(1, 0, 0, 0, c[2], s[2], 0, -s[2], c[2]), 3)
  rz <- matrix(c(c[3], s[3], 0, -s[3], c[3], 0, 0, 0, 1), 3)
  rz %*% rx %*% ry
}

to_angles <- function(r) {
  c(atan2(-r[3, 1], r[3, 3]), asin(r[3, 2]), atan2(-r[1, 2], r[2, 2])) * 180 / pi
}

# The rotation nearest to the mean of matrices, which are the rows of a table with nine columns.
mean_rotation <- function(rows) {
  parts <- svd(matrix(colMeans(rows), 3))
  turn <- parts$u %*% t(parts$v)
  parts$u %*% diag(c(1, 1, sign(det(turn)))) %*% t(parts$v)
}

# The axis of a rotation times its angle, in degrees.
to_rotvec <- function(r) {
  angle <- acos(max(-1, min(1, (sum(diag(r)) - 1) / 2)))
  axis <- c(r[3, 2] - r[2, 3], r[1, 3] - r[3, 1], r[2, 1] - r[1, 2]) / 2
  if (angle < 1e-8) axis * 180 / pi else axis * angle / sin(angle) * 180 / pi
}

mean_pose <- function(frames) {
  seen <- frames[frames$seen, ]
  missing_share <- 1 - nrow(seen) / nrow(frames)
  row <- data.frame(
    participant = frames$participant[1], frames = nrow(seen), missing_share,
    yaw_deg = NA, pitch_deg = NA, roll_deg = NA, spread_deg = NA, blocks = NA,
    yaw_ci_deg = NA, pitch_ci_deg = NA, roll_ci_deg = NA, distance_m = NA
  )
  if (nrow(seen) == 0) return(row)
  rotations <- t(apply(seen[, angles], 1, to_rotation))
  middle <- mean_rotation(rotations)
  away <- apply(rotations, 1, function(r) sum(to_rotvec(t(middle) %*% matrix(r, 3))^2))
  row[c("yaw_deg", "pitch_deg", "roll_deg")] <- to_angles(middle)
  row$spread_deg <- sqrt(mean(away))
  block <- frames$time_s %/% block_s
  shares <- tapply(frames$seen, block, mean)
  full <- names(shares)[shares >= 0.5]
  row$blocks <- length(full)
  if (length(full) > 1) {
    of_seen <- as.character(block[frames$seen])
    moved <- sapply(full, function(each) {
      to_rotvec(t(middle) %*% mean_rotation(rotations[of_seen == each, , drop = FALSE]))
    })
    half <- qt(0.975, length(full) - 1) * apply(moved, 1, sd) / sqrt(length(full))
    row[c("pitch_ci_deg", "yaw_ci_deg", "roll_ci_deg")] <- half
  }
  row$distance_m <- median(seen$distance_m)
  row
}

wanted <- c("source", "time_s", "confidence", "distance_m", angles)
paths <- grep("\\.failures\\.csv$", given[-1], value = TRUE, invert = TRUE)
table <- do.call(rbind, lapply(paths, function(path) read.csv(path)[, wanted]))
table <- table[!is.na(table$time_s), ]
if (length(table$source) == 0) stop("expected records of videos; there are none, or only of photos")
sources <- unique(table$source)
stems <- tools::file_path_sans_ext(basename(sources))
names <- if (anyDuplicated(stems)) sources else stems
table$participant <- names[match(table$source, sources)]
table$seen <- !is.na(table$confidence) & table$confidence >= min_confidence
table <- table[order(table$participant, table$time_s, !table$seen, table$distance_m), ]
frames <- table[!duplicated(table[, c("participant", "time_s")]), ]
result <- do.call(rbind, lapply(split(frames, frames$participant), mean_pose))
numbers <- sapply(result, is.numeric)
result[numbers] <- round(result[numbers], 4)
write.csv(result, given[1], row.names = FALSE, na = "", quote = FALSE)
