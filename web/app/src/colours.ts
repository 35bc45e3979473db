/** One colour per person, cyclic: those of `trg.io.overlay`. */
const PALETTE = ["#56c4ff", "#ffaa5c", "#8ce28c", "#e890ff", "#ffde5c", "#ff8290"] as const;

export function colourOf(person: number): string {
  return PALETTE[person % PALETTE.length]!;
}
