import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { type INews, News } from '../models/news';
import { CommandIDs, IClusterModel, SETTINGS_ID, TRANSLATION_DOMAIN } from '../tokens';

/** Says when a cluster fails or is about to end, wherever its owner looks. */
export const notificationsPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-offload:notifications',
  description: 'Says when a cluster fails or is about to end.',
  autoStart: true,
  requires: [IClusterModel],
  optional: [ITranslator, ISettingRegistry],
  activate: (
    app: JupyterFrontEnd,
    model: IClusterModel,
    translator: ITranslator | null,
    registry: ISettingRegistry | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    let settings: ISettingRegistry.ISettings | null = null;
    void registry?.load(SETTINGS_ID).then(
      loaded => {
        settings = loaded;
      },
      (error: unknown) => console.error('The settings of Offload could not be read.', error)
    );
    const command = (label: string, id: string, args: { id: string }) => ({
      label,
      callback: () => void app.commands.execute(id, args)
    });
    const say = ({ kind, id, message }: INews) => {
      if (settings?.get('notifications').composite === false) {
        return;
      }
      const actions =
        kind === 'failed'
          ? [
              command(trans.__('Logs'), CommandIDs.openLogs, { id }),
              command(trans.__('Start again…'), CommandIDs.startAgain, { id })
            ]
          : [command(trans.__('Extend…'), CommandIDs.extend, { id })];
      Notification.emit(message, kind === 'failed' ? 'error' : 'warning', {
        actions,
        autoClose: kind === 'failed' ? false : 20_000
      });
    };
    const news = new News(trans);
    model.clusterChanged.connect((_, change) => {
      const failed = news.ofChange(change);
      if (failed) {
        say(failed);
      }
    });
    model.changed.connect(() => news.endings(model.clusters, new Date()).forEach(say));
  }
};
