/* Stores that pass each other: what zeropool.pml and share.pml leave out. A thread of a client, and the daemon; the thread's
 * stores wait, and reach memory in any order, as on arm64 (-DTSO: in the program's, as on x86-64), but for what a release
 * or membarrier holds back. membarrier falls between two steps of the thread. Loads are taken where they stand: the
 * daemon's are acquires, or need the address that the load before them gave. All edges: docs/memory-order.md.
 *
 * SCENE:
 *   1  audit: a slot that goes in and out of its thread's magazine is never taken for lost   (ring_audit.hpp, G4)
 *   2  steal: a magazine is taken between two operations, with all that they wrote           (cache_steal.hpp, V1)
 *   3  closing: in the end each put takes the slow path                                      (cache_pressure.hpp, L2)
 *   4  release: who claims the magazine sees what is in it                                   (batch_ring.hpp, R1e)
 * OPS: operations of the thread.     BROKEN=1, 2: an order less; see tests/model/README.md.
 */
#ifndef BROKEN
#define BROKEN 0
#endif
#ifndef OPS
#define OPS 4
#endif

byte memory[4];
bool over = false; /* the thread has ended */
byte word, value;  /* of atomic steps */

#ifdef TSO
chan waiting = [8] of { byte, byte };
#define STORE(w, v) waiting!w, v
#define REACH_ONE atomic { waiting?word, value -> memory[word] = value; word = 0; value = 0 }
#define ALL_REACHED (len(waiting) == 0)
#define REACH_ALL do :: waiting?word, value -> memory[word] = value :: empty(waiting) -> break od; word = 0; value = 0
#else
chan waiting[4] = [4] of { byte };
#define STORE(w, v) waiting[w]!v
#define REACH(w) waiting[w]?value -> memory[w] = value; value = 0
#define REACH_ONE if :: atomic { REACH(0) } :: atomic { REACH(1) } :: atomic { REACH(2) } :: atomic { REACH(3) } fi
#define ALL_REACHED (len(waiting[0]) + len(waiting[1]) + len(waiting[2]) + len(waiting[3]) == 0)
#define REACH_ALL \
  do :: REACH(0) :: REACH(1) :: REACH(2) :: REACH(3) :: ALL_REACHED -> break od
#endif
#define STORE_RELEASE(w, v) atomic { REACH_ALL; STORE(w, v) }
#define MEMBARRIER atomic { REACH_ALL }

active proctype stores() {
end:
  do
  :: REACH_ONE
  od
}

#if SCENE == 1
/* One slot and one magazine. Its mark: 2 * generation, + 1 while it is held. */
#define MARK 0
#define COUNT 1
active proctype thread() {
  byte ops = 0, generation = 1;
  STORE(COUNT, 1); STORE(MARK, 2);
  do
  :: ops < OPS ->
    STORE(MARK, 2 * generation + 1); /* get 1 */
    STORE(COUNT, 0);                 /* get 2: COMMIT */
    generation++;
    STORE(COUNT, 1);                 /* put 2: COMMIT */
    STORE(MARK, 2 * generation);     /* put 3 */
    ops++
  :: break
  od
}
active proctype audit() {
  byte mark;
  mark = memory[MARK];
  if
  :: mark > 0 && mark % 2 == 0 -> /* free */
#if BROKEN != 1
    MEMBARRIER;
#endif
    if
    :: memory[COUNT] == 0 -> /* in no magazine */
#if BROKEN != 2
      MEMBARRIER;
#endif
      /* It has been with its thread all the while: a verdict that it is lost is wrong. */
      assert(memory[MARK] != mark)
    :: else
    fi
  :: else
  fi
}
#endif

#if SCENE == 2
#define BUSY 0
#define MAGAZINE 1
#define NONE 0
#define ASKED 1
#define TAKEN 2
byte steal = NONE;
byte written = 0; /* what the thread has written into its magazine: by its program */
bool inside = false;
active proctype thread() {
  byte ops = 0;
  do
  :: ops < OPS ->
    STORE(BUSY, 1);
    if
    :: atomic { steal == NONE -> inside = true };
      atomic { written++; STORE(MAGAZINE, written) };
#if BROKEN == 2
      atomic { inside = false; STORE(BUSY, 0) }
#else
      atomic { REACH_ALL; inside = false; STORE(BUSY, 0) }
#endif
    :: atomic { steal == ASKED -> steal = NONE }; /* answered; a CAS, and the slow path begins again */
      STORE_RELEASE(BUSY, 0)
    :: steal == TAKEN -> break /* it forgets its magazines */
    fi;
    ops++
  :: break
  od
}
active proctype thief() {
  steal = ASKED;
#if BROKEN != 1
  MEMBARRIER;
#endif
  if
  :: memory[BUSY] == 0 ->
    /* COMMIT: the magazine is the ring's, as it looks now. */
    atomic {
      if
      :: steal == ASKED -> steal = TAKEN; assert(!inside && memory[MAGAZINE] == written)
      :: else
      fi
    }
  :: else
  fi
}
#endif

#if SCENE == 3
/* The daemon raises a thread's limit as the thread's pool is closed. */
#define CLOSING 0
#define LIMIT 1
bool raised = false;
active proctype thread() {
  STORE(CLOSING, 1);
#if BROKEN == 1
  STORE(LIMIT, 0);
#else
  STORE_RELEASE(LIMIT, 0);
#endif
  over = true
}
active proctype daemon() {
  bool closes;
  memory[LIMIT] = 2; /* seq_cst: it is there before the load */
#if BROKEN != 2
  closes = memory[CLOSING];
  if :: closes -> memory[LIMIT] = 0 :: else fi;
#endif
  raised = true
}
active proctype end_of_both() {
  over && raised && ALL_REACHED;
  assert(memory[LIMIT] == 0)
}
#endif

#if SCENE == 4
#define SLOT 0
#define COUNT 1
#define MARK 2
#define OWNER 3
active proctype thread() {
  atomic { memory[OWNER] = 1 };
  STORE(SLOT, 7); STORE(COUNT, 1); STORE(MARK, 1);
#if BROKEN == 1
  STORE(OWNER, 2)
#else
  STORE_RELEASE(OWNER, 2) /* R1e */
#endif
}
active proctype claimer() {
  end: memory[OWNER] == 2; /* A1 */
  assert(memory[SLOT] == 7 && memory[COUNT] == 1 && memory[MARK] == 1)
}
#endif
