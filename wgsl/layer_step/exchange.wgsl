// How the workgroups of one dispatch, its team, hand values to each other. All of them must run at the same time, since they wait.
// words: u32, zero before. A value is one word whose lowest bit is set (which moves it by at most its last place); a word that is still 0 is waited for. So a value and
// the news of it arrive together, and nothing depends on the order in which other memory is seen, which WGSL does not promise between workgroups. Nor does it
// promise that workgroups run together: `muster` counts how many do, with the very pipeline that is going to wait. Whoever waits in vain goes on with NaN.
// Between sending and waiting there is a barrier, so that nobody waits for threads of its own workgroup.
const THREADS: u32 = 1024u;
const MOST_ROUNDS: u32 = 9u; // in which the threads bring the longest operand

@group(0) @binding(5) var<storage, read_write> words: array<atomic<u32>>;

#repeat j MOST_ROUNDS
var<private> word_$j: u32;
#end

fn send(i: u32, value: f32) {
  atomicStore(&words[i], bitcast<u32>(value) | 1u);
}

// The value of a word, or NaN where there is none.
fn value_of(word: u32) -> f32 {
  return bitcast<f32>(select(word, 0x7fc00000u, word == 0u));
}

// Waits for word i.
fn await_value(i: u32) -> f32 {
  var word = 0u;
  for (var look = 0u; look < params.patience && word == 0u; look++) {
    word = atomicLoad(&words[i]);
  }
  return value_of(word);
}

// Waits for `count` words from `first` on: a thread for those THREADS apart, in word_0, word_1 …, asked for at once.
fn await_words(first: u32, count: u32, thread: u32) {
  for (var look = 0u; look < params.patience; look++) {
    var missing = false;
#repeat j MOST_ROUNDS
    if $ju * THREADS < count {
      word_$j = atomicLoad(&words[first + min(thread + $ju * THREADS, count - 1u)]);
      missing = missing || word_$j == 0u;
    }
#end
    if !missing {
      break;
    }
  }
}

// Notes in words[1] how many workgroups of this pipeline were seen to run at the same time.
fn muster(thread: u32) {
  if thread == 0u {
    atomicMax(&words[1], atomicAdd(&words[0], 1u) + 1u);
    for (var look = 0u; look < params.muster; look++) {
      atomicMax(&words[1], atomicLoad(&words[0]));
    }
    atomicSub(&words[0], 1u);
  }
  workgroupBarrier();
}
