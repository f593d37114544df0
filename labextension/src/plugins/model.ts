import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { OffloadClient } from '../api/client';
import { ClusterModel } from '../models/model';
import { IClusterModel, TRANSLATION_DOMAIN } from '../tokens';

/** Event by which the server says "look again"; its data is never the truth. */
const CHANGES = 'https://events.jupyter-offload.dev/changes/v1';

/** The clusters and sites of this user, for all other plugins. */
export const modelPlugin: JupyterFrontEndPlugin<IClusterModel> = {
  id: 'jupyter-offload:model',
  description: 'Keeps the clusters and sites of this user in step with the server.',
  autoStart: true,
  provides: IClusterModel,
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, translator: ITranslator | null): IClusterModel => {
    const { serviceManager } = app;
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const model = new ClusterModel({
      client: new OffloadClient(serviceManager.serverSettings, trans),
      trans
    });
    serviceManager.events.stream.connect((_, event) => {
      if (event.schema_id === CHANGES) {
        void model.refresh();
        if (event.sites) {
          void model.refreshSites();
        }
      }
    });
    // Whoever comes back, from another tab or to the network, sees the present at once.
    const lookAgain = () => {
      if (document.visibilityState === 'visible') {
        void model.refresh();
        void model.refreshSites();
      }
    };
    document.addEventListener('visibilitychange', lookAgain);
    window.addEventListener('online', lookAgain);
    return model;
  }
};
