/** Constants of a kernel that suit one card better than another. */
export type Tile = Readonly<Record<string, number>>;

/** Tiles by the name under which kernels ask for them, and how often they have changed: for those who remember what follows from them. */
export class Tiles extends Map<string, Tile> {
  changes = 0;

  override set(name: string, tile: Tile): this {
    this.changes += 1;
    return super.set(name, tile);
  }

  override delete(name: string): boolean {
    this.changes += 1;
    return super.delete(name);
  }

  override clear(): void {
    this.changes += 1;
    super.clear();
  }
}
