/**
 * Pictures to look at. They are written to `images/` (Playwright empties `test-results/` at every run); those of the
 * documentation go to `docs/images/` where `OFFLOAD_UPDATE_IMAGES` is set.
 */
import * as path from 'node:path';
import { REPOSITORY } from './lab.js';

export function image(name: string): string {
  return path.join(REPOSITORY, 'ui-tests/images', name);
}

export function docsImage(name: string): string {
  return process.env.OFFLOAD_UPDATE_IMAGES ? path.join(REPOSITORY, 'docs/images', name) : image(name);
}
