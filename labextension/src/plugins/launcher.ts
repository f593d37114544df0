import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILauncher } from '@jupyterlab/launcher';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { CommandIDs, IClusterModel, TRANSLATION_DOMAIN } from '../tokens';

/** A card "New cluster" in the launcher. */
export const launcherPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-offload:launcher',
  description: 'Offers a new cluster in the launcher.',
  autoStart: true,
  // The command belongs to whoever shows the model's clusters; without them a card would do nothing.
  requires: [ILauncher, IClusterModel],
  optional: [ITranslator],
  activate: (
    _app: JupyterFrontEnd,
    launcher: ILauncher,
    _clusters: IClusterModel,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    launcher.add({
      command: CommandIDs.newCluster,
      category: trans.__('Dask'),
      rank: 1
    });
  }
};
