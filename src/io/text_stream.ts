/** Gives the bytes of a token's text, none for an id that is unknown or left out. */
export interface TokenBytes {
  tokenBytes(id: number, options: { skipSpecialTokens: boolean }): Uint8Array;
}

/**
 * Text of a sequence of tokens as it grows. A token holds bytes, not characters, so `push` returns only the text that
 * can no longer change: an incomplete UTF-8 sequence waits for the next token. All pushes and `end` joined are the text
 * of all tokens decoded together; a bad sequence becomes U+FFFD, one per longest valid prefix, as in Rust and Python.
 */
export class TextStream {
  // Without ignoreBOM a leading U+FEFF would be lost.
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  constructor(
    private readonly tokens: TokenBytes,
    private readonly options: { skipSpecialTokens: boolean },
  ) {}

  /** Appends a token; returns the text that became complete, often none. */
  push(id: number): string {
    return this.decoder.decode(this.tokens.tokenBytes(id, this.options), { stream: true });
  }

  /** What is left at the end: U+FFFD if the last character is incomplete, else nothing. */
  end(): string {
    return this.decoder.decode();
  }
}
