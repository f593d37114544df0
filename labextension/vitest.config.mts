import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    environment: 'jsdom',
    include: ['src/**/__tests__/**/*.spec.{ts,tsx}'],
    setupFiles: ['./vitest.setup.ts'],
    server: {
      // Lab packages are ESM without file extensions and import CSS and SVG: Vite transforms them, not Node.
      deps: { inline: [/@jupyterlab\//, /@jupyter\//, /@lumino\//] }
    }
  },
  plugins: [
    {
      // `import svg from 'x.svg'` gives the text, as Lab's builder does
      name: 'svg-as-text',
      enforce: 'pre',
      async load(id) {
        if (id.endsWith('.svg')) {
          const { readFile } = await import('node:fs/promises');
          return `export default ${JSON.stringify(await readFile(id, 'utf8'))}`;
        }
      }
    }
  ]
});
