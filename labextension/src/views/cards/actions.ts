/** What a card can ask for; the panel turns it into commands. */
export interface ICardActions {
  select(id: string): void;
  insertClient(id: string): void;
  scale(id: string): void;
  dashboards(id: string): void;
  logs(id: string): void;
  extend(id: string): void;
  stop(id: string): void;
  startAgain(id: string): void;
  forget(id: string): void;
  /** Open the menu of rare actions below this element. */
  menu(id: string, anchor: HTMLElement): void;
  /** A drag of the card may begin here. */
  press(id: string, event: React.PointerEvent<HTMLElement>): void;
}
