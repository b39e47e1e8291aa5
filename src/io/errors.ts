/**
 * Something that came from outside (a file, a picture, a flag, a prompt) is not usable. The message is one sentence that
 * names the thing, what was expected and what was found; the command line prints it alone and exits with code 2.
 */
export class InputError extends Error {
  override name = 'InputError';
}
