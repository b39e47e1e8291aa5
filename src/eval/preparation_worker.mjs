// The entry of a preparation thread: threads do not inherit the loader that lets Node run TypeScript.
import { register } from 'tsx/esm/api';

register();
await import('./preparation_thread.ts');
