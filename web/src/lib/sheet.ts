import type { Imported } from './api';
import type { Fault } from './problem';

/** What the server takes (docs/contract.md, Sheets). */
export const maxSheetBytes = 4 << 20;

export interface Mistake {
  /** 0: of the sheet as a whole. The names of the fields are row 1. */
  row: number;
  field: string;
  message: string;
}

/** Where the mistakes of a sheet are: `row 17.serial_no`. */
export function mistakesOf(faults: Fault[]): Mistake[] {
  return faults.map(({ location, message }) => {
    const [, row = '0', field = ''] = /^row (\d+)(?:\.(.+))?$/.exec(location) ?? [];
    return { row: Number(row), field, message };
  });
}

/** The secrets an import made, as a sheet again. Serials and made-up secrets need no quotes. */
export function secretsOf(items: Imported['items']): string {
  const rows = items.flatMap(({ serial_no, secret_key }) => (secret_key ? [`${serial_no},${secret_key}`] : []));
  return ['serial_no,secret_key', ...rows, ''].join('\r\n');
}

/** One sheet of several with the same fields. */
export function joined([first = '', ...more]: string[]): string {
  return first + more.map((sheet) => sheet.slice(sheet.indexOf('\n') + 1)).join('');
}

/** The first sheet somebody might fill in. */
export const example = `serial_no,name,tags,silence_after
DESK-1,Desk,office;climate,600
ROOF-1,Roof,outdoor,3600
`;
