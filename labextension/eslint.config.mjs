import js from '@eslint/js';
import jupyter from '@jupyter/eslint-plugin';
import globals from 'globals';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  {
    ignores: [
      'lib',
      'node_modules',
      'style',
      'src/api/schema.gen.ts',
      '**/*.mts',
      '**/*.mjs',
      'vitest.setup.ts'
    ]
  },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  { plugins: { jupyter } },
  jupyter.configs.recommended,
  {
    languageOptions: {
      globals: globals.browser,
      parserOptions: { project: 'tsconfig.test.json' }
    },
    rules: {
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      // Lab's own style: a namespace beside a class or token holds its types.
      '@typescript-eslint/no-namespace': 'off',
      // The whole extension is one small file; more requests would cost more than they save.
      'jupyter/prefer-lazy-imports': 'off',
      eqeqeq: ['error', 'always', { null: 'ignore' }]
    }
  },
  // Nobody reads the words of a test in Lab, and its objects end with it.
  {
    files: ['src/**/__tests__/**'],
    rules: {
      'jupyter/no-untranslated-string': 'off',
      'jupyter/require-disposable-ownership': 'off',
      'jupyter/require-disposable-transfer': 'off'
    }
  },
  // Imports go one way: plugins > views > models > api.
  {
    files: ['src/views/**'],
    ignores: ['src/**/__tests__/**'],
    rules: {
      'no-restricted-globals': ['error', { name: 'fetch', message: 'Views ask the model.' }],
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            { group: ['**/api/client', '**/plugins/*'], message: 'Views ask the model.' }
          ]
        }
      ]
    }
  },
  {
    files: ['src/models/**'],
    ignores: ['src/**/__tests__/**'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          paths: ['react', '@jupyterlab/apputils', '@lumino/widgets'],
          patterns: [{ group: ['**/views/**', '**/plugins/*'], message: 'Models know no DOM.' }]
        }
      ]
    }
  }
);
