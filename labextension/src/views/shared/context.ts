import type { TranslationBundle } from '@jupyterlab/translation';
import { nullTranslator } from '@jupyterlab/translation';
import { createContext, useContext } from 'react';

export const TranslationContext = createContext<TranslationBundle>(
  nullTranslator.load('jupyter_offload')
);

/** The translations of this package. */
export function useTrans(): TranslationBundle {
  return useContext(TranslationContext);
}
