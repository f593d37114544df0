import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IClusterModel, SETTINGS_ID } from '../tokens';

/** Brings the settings page, the shortcuts and the menu of the extension, and applies what concerns the model. */
export const settingsPlugin: JupyterFrontEndPlugin<void> = {
  id: SETTINGS_ID,
  description: 'Settings, keyboard shortcuts and menu of Offload.',
  autoStart: true,
  requires: [IClusterModel, ISettingRegistry],
  activate: (_app: JupyterFrontEnd, model: IClusterModel, registry: ISettingRegistry): void => {
    void registry.load(SETTINGS_ID).then(
      settings => {
        const apply = () => {
          model.fastIntervalMs = 1000 * (settings.get('refreshSeconds').composite as number);
        };
        apply();
        settings.changed.connect(apply);
      },
      (error: unknown) => console.error('The settings of Offload could not be read.', error)
    );
  }
};
