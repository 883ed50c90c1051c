// Makes hugging_face.json: what Hugging Face's tokenizers 0.23.2 answers for bard's vocabulary behind
// other pre-tokenizers. Run `npm install tokenizers@0.23.2`, then `node make_hugging_face.js` here.
const fs = require('fs');
const {Tokenizer} = require('tokenizers');

const bard = fs.readFileSync('../../../models/bard/tokenizer.json', 'utf8');
const split = (regex, behavior = 'Isolated', invert = false) =>
    ({type: 'Split', pattern: {Regex: regex}, behavior, invert});
const literal = (text, behavior) =>
    ({type: 'Split', pattern: {String: text}, behavior, invert: false});
const byteLevel = (addPrefixSpace = false, useRegex = false) => ({
  type: 'ByteLevel', add_prefix_space: addPrefixSpace, trim_offsets: true, use_regex: useRegex
});
const sequence = (...steps) => ({type: 'Sequence', pretokenizers: steps});
const added = (id, content, flags = {}) => ({
  id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: false,
  ...flags
});
const digits = one => ({type: 'Digits', individual_digits: one});

// The letters of DeepSeek-LLM and V2: first and last code point of each range.
const V2_LETTERS = `
    41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376-377 37b-37d 37f 386
    388-38a 38c 38e-3a1 3a3-3f5 3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba
    1cbd-1cbf 1d00-1d2b 1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57
    1f59 1f5b 1f5d 1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb
    1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102 2107 210a-2113 2115 2119-211d 2124 2126 2128 212a-212d
    212f-2134 2139 213c-213f 2145-2149 214e 2183-2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee 2cf2-2cf3
    a640-a66d a680-a69b a722-a76f a771-a787 a78b-a78e ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a
    ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df 1e900-1e943
`.trim();
const range = r => r.split('-').map(c => String.fromCodePoint(parseInt(c, 16))).join('-');
const v2Letters = V2_LETTERS.split(/\s+/).map(range).join('');
const CL100K = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|" +
    ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

const variants = {
  'deepseek v2': {pre_tokenizer: sequence(
      split('[\r\n]'), split(`\\s?[${v2Letters}]+`),
      split('\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+'), split('\\s+$'),
      split('[一-龥\u0800-一가-\ud7ff]+'), digits(true), byteLevel())},
  'deepseek coder': {pre_tokenizer: sequence(
      split('[\r\n]'), split('\\s?\\p{L}+'), split('\\s?\\p{P}+'),
      split('[一-龥\u0800-一가-\ud7ff]+'), split('\\p{N}'), byteLevel())},
  'llama 3': {pre_tokenizer: sequence(split(CL100K), byteLevel()), ignore_merges: true},
  'gpt 2': {pre_tokenizer: byteLevel(false, true)},
  'prefix space': {pre_tokenizer: sequence(digits(false), byteLevel(true, true))},
  'removed': {pre_tokenizer: sequence(split('\\s+', 'Removed'), byteLevel())},
  'merged with previous': {pre_tokenizer: sequence(
      literal('.', 'MergedWithPrevious'), split('\\p{L}+', 'MergedWithPrevious', true),
      byteLevel())},
  'merged with next': {pre_tokenizer: sequence(
      literal(' ', 'MergedWithNext'), split('\\p{Lu}', 'MergedWithNext'), byteLevel())},
  'contiguous': {pre_tokenizer: sequence(split('\\w', 'Contiguous'), byteLevel())},
  'empty matches': {pre_tokenizer: sequence(split('x*', 'Isolated'), byteLevel())},
  'lines': {pre_tokenizer: sequence(split('^', 'MergedWithNext'), split('$'), byteLevel())},
  // As in DeepSeek-LLM: a unit that stands for no byte of UTF-8 is an added token instead.
  'added tokens': {renamed: ['ø', '<unused>'], added_tokens: [
      added(2048, 'ø'), added(2049, '<A>', {lstrip: true, special: true}),
      added(2050, '<AB>', {rstrip: true}), added(2051, '<A', {normalized: true}),
      added(2052, 'B>x', {normalized: true}), added(2053, 'naï')]},
};

const texts = [
  '', ' ', 'Hello, world!', 'the king  and   the queen ', '  lead', 'trail   ',
  'a\n\n b\r\n  \r\nc ', "I'll DON'T we'Ve", '1 22 333 4444 55555', '٣½Ⅷ²³ 7', '   42',
  '日本語のテキスト、カタカナ。', 'こんにちは world 世界',
  '한국어 문장!', 'naïve Führer øÿé', 'e\u0301a\u0301 \u0301x',
  '👍🏽 🏳️‍🌈', 'a\u00a0b\u3000c\u0085d\u2028e\u200bf\u180eg',
  'x<A>y  <A>  z <AB>  q <ABC <A B>x', '<｜User｜>Hi<｜Assistant｜>',
  '<｜end▁of▁sentence｜>', 'xxaxx bxxx', 'Ⓐ_b-c.d..e', 'ſK İ ǅʰª',
  'Привет, мир! Ωμέγα', 'ἀρχὴ ώΐ Ａｂ！？', '\u0000a\u0000',
  'a.b.c. d', 'tab\ttab\t\t x', '𝒳𐐀 𐐨',
];

(async () => {
  const out = [];
  for (const [name, changes] of Object.entries(variants)) {
    const file = JSON.parse(bard);
    if (changes.pre_tokenizer) file.pre_tokenizer = changes.pre_tokenizer;
    if (changes.ignore_merges) file.model.ignore_merges = true;
    if (changes.renamed) {
      const [before, after] = changes.renamed;
      file.model.vocab[after] = file.model.vocab[before];
      delete file.model.vocab[before];
    }
    file.added_tokens.push(...(changes.added_tokens || []));
    const tokenizer = Tokenizer.fromString(JSON.stringify(file));
    const cases = [];
    for (const text of texts) {
      const ids = (await tokenizer.encode(text, null, {addSpecialTokens: false})).getIds();
      cases.push({text, ids, decoded: await tokenizer.decode(ids, true)});
    }
    out.push({name, ...changes, cases});
  }
  const lines = out.map(({cases, ...head}) => JSON.stringify(head).slice(0, -1) + ',"cases":[\n' +
      cases.map(c => JSON.stringify(c)).join(',\n') + ']}');
  fs.writeFileSync('hugging_face.json', '[' + lines.join(',\n') + ']\n');
})();
