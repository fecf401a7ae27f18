// A mail server that keeps what it is sent: what a provider would put into somebody's inbox.
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

const patienceMs = 10_000;

export async function openMailbox() {
  const letters = [];
  const waiting = new Set();
  const server = createServer((socket) => {
    socket.on('error', () => {});
    const say = (line) => socket.write(`${line}\r\n`);
    let letter = { to: [], text: '' };
    let inText = false;
    say('220 mailbox');
    createInterface({ input: socket }).on('line', (line) => {
      if (inText && line !== '.') {
        letter.text += line.replace(/^\.\./, '.') + '\n';
      } else if (inText) {
        inText = false;
        letters.push(letter);
        letter = { to: [], text: '' };
        say('250 kept');
        waiting.forEach((look) => look());
      } else if (/^RCPT TO:/i.test(line)) {
        letter.to.push(line.match(/<(.*)>/)[1]);
        say('250 ok');
      } else if (/^DATA/i.test(line)) {
        inText = true;
        say('354 go on');
      } else if (/^QUIT/i.test(line)) {
        say('221 bye');
        socket.end();
      } else {
        say('250 ok');
      }
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `smtp://127.0.0.1:${server.address().port}`,
    /** The link in the newest letter to an address that leads to a page, with the line breaks of the mail undone. */
    link(to, page) {
      const find = () => {
        const letter = letters.findLast((one) => one.to.includes(to) && one.text.includes(page));
        const text = letter?.text.replace(/=\n/g, '').replace(/=3D/g, '=');
        return text?.match(new RegExp(`https?://\\S*${page}#\\S+`))?.[0];
      };
      return new Promise((done, fail) => {
        const timer = setTimeout(() => fail(new Error(`no letter to ${to} leads to ${page}; there are ${letters.length}: ${letters.map((one) => one.to)}`)), patienceMs);
        const look = () => {
          const found = find();
          if (!found) return;
          clearTimeout(timer);
          waiting.delete(look);
          done(found);
        };
        waiting.add(look);
        look();
      });
    },
    close: () => server.close(),
  };
}
