import { describe, expect, it } from 'vitest';
import { scripts } from '../../package.json';

// React's development JSX runtime asks Lab's production React for what only the development one has: the first warning
// about a key or a prop then breaks the view.
describe('the build for an editable install', () => {
  it.each(['build', 'build:prod'] as const)('%s leaves React in production mode', name => {
    expect(scripts[name]).toContain('jupyter-builder build');
    expect(scripts[name]).not.toMatch(/--development(?![= ]False)/);
  });

  it('watches in production mode, which is not what the builder does by itself', () => {
    expect(scripts['watch:lab']).toMatch(/--development[= ]False/);
  });
});
