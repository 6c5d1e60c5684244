/* zeropool's protocol: magazines, marks, hand-off, orders and grants, steal, publish and withdraw, reclaim, and a
 * daemon that restarts. What the words mean: docs/crash-safety.md; the code: lib/include/zeropool/lib/.
 *
 * Run by tests/model/check. By hand:
 *   spin -a -DHANDOFF -DCRASHES=1 zeropool.pml && cc -O2 -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -o pan pan.c && ./pan -m1000000
 *
 * Features (each adds words and actions):
 *   HANDOFF   release, adopt, take-back (a releaser adopts its own handle), lease expiry, receivers
 *   ORDERS    one order cell: take, post, cancel; the daemon grants or refuses; accept
 *   STEAL     thread records with busy and steal; the daemon takes idle caches
 *   PUBLISH   the last slot is absent at first; the daemon publishes and withdraws slots, by a ledger
 *   BOUND     with PUBLISH and HANDOFF: clients believe a slot bound that they read at their last claim
 *   DAMAGE    client 1 is dead at the start, and its magazine holds an entry that is with client 2
 *   THREADS   client 1 has two threads, with magazines of their own; they pass each other what they hold; either may
 *             exit while the other goes on; a kill takes both at once
 *   RACE      with THREADS: both may have a copy of one handle and put it; what is checked is that no other slot suffers
 * Bounds:
 *   OPS  operations of each thread    OPS2 of client 2's, if it is another number    CRASHES  kills of clients, at most one each    RESTARTS  kills of the daemon
 *   ACTS  daemon's publishes, withdrawals and steals    NS slots (2 or 3)   NM magazines (3 to 5)   B  slots of a magazine
 *   MAGS  magazines that a thread may own (1 or 2)
 * BROKEN=n: protocols that must fail; see tests/model/README.md.
 */
#ifndef BROKEN
#define BROKEN 0
#endif
#ifndef OPS
#define OPS 3
#endif
#ifndef OPS2
#define OPS2 OPS
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef RESTARTS
#define RESTARTS 0
#endif
#ifndef ACTS
#define ACTS 2
#endif
#ifndef NS
#define NS 2
#endif
#ifndef NM
#define NM 3
#endif
#ifndef B
#define B 2
#endif
#ifndef MAGS
#define MAGS 1
#endif

#define NONE 255

/* ---- the words ---- */

/* Threads, and their records: 1 and 2 are the first of clients 1 and 2; 3 is the second of client 1. */
#ifdef THREADS
#define LAST_THREAD 3
#define CLIENT_OF(t) (((t) == 3) -> 1 : (t))
#define WORD_OF(t) (((t) == 3) -> 5 : (t))
#define THREAD_OF(w) (((w) == 5) -> 3 : (w))
#define SIBLING(t) (4 - (t)) /* of 1 and 3 */
#else
#define LAST_THREAD 2
#define CLIENT_OF(t) (t)
#define WORD_OF(t) (t)
#define THREAD_OF(w) (w)
#endif

/* Owner word: 0 in the ring; {client, thread}: 1, 2, and 5 for thread 3; DAEMON; or a grant, {client, sequence}. */
#define DAEMON 3
#define GRANT(c, q) (16 + (c) + 4 * ((q) % 8))
#define OWNER_CLIENT(w) ((w) % 4)

/* Mark: holder mk[] and generation gn[]. Always compared and changed together, as the one word that they are. */
#define ABSENT 0
#define FREE 3
#define TRANSIT(c) (4 + (c))
#define IN_TRANSIT(s) (mk[s] > 4)
/* Generations only matter to handles: without them they would only multiply states. */
#if defined(HANDOFF) || defined(RACE)
#define GENERATIONS
#endif
#ifdef GENERATIONS
#define NEXT_GENERATION(s) gn[s] = gn[s] + 1
#else
#define NEXT_GENERATION(s) skip
#endif

/* Order word: {sequence, client, state}. */
#define ORD(q, c, st) (32 * ((q) % 8) + 8 * (c) + (st))
#define ORD_STATE(w) ((w) % 8)
#define ORD_CLIENT(w) (((w) / 8) % 4)
#define ORD_SEQ(w) ((w) / 32)
#define ORD_FREED(w) (32 * ORD_SEQ(w))
#define O_FREE 0
#define O_WRITING 1
#define O_POSTED 2
#define O_GRANTED 3
#define O_REFUSED 4

/* Steal word. */
#define S_NONE 0
#define S_REQ 1
#define S_TAKEN 2

byte own[NM];
byte cnt[NM];
byte sl[NM * B];
byte mk[NS];
byte loaded[LAST_THREAD + 1] = NONE; /* a thread record's numbers */
byte held[LAST_THREAD + 1] = NONE;   /* what a thread of the application has in its hands */
bool dead[3];                        /* by client */
bool quiet[LAST_THREAD + 1];
bool gone[3];                        /* the daemon's client table: reclaimed */
byte crashes = 0;
byte restarts = 0;
byte acts = 0;
#if MAGS == 2
byte prev[LAST_THREAD + 1] = NONE;
#define PREVIOUS(t) prev[t]
#else
#define PREVIOUS(t) NONE
#endif
#ifdef GENERATIONS
byte gn[NS];
#endif
#ifdef HANDOFF
byte note[NS];           /* the receiver; 0: anybody */
byte handle_slot = NONE; /* the last handle sent; whoever likes keeps a copy of it */
byte handle_gen;
#if BROKEN == 7
byte releases[NS];       /* ghost: which release a handle came from */
byte handle_release;
#endif
#endif
#ifdef ORDERS
byte ord = 0;
#endif
#ifdef STEAL
bool busy[LAST_THREAD + 1];
byte steal[LAST_THREAD + 1];
#if RESTARTS > 0
bool unfinished;         /* a daemon before this one may have broken off a steal */
#define STEALS_FINISHED !unfinished
#else
#define STEALS_FINISHED true
#endif
#else
#define STEALS_FINISHED true
#endif
#ifdef PUBLISH
bool in_ledger[NS];      /* the ledger: this slot's extent is published */
#ifdef BOUND
byte published = NS - 1; /* slots_published */
#endif
#endif

byte user[NS];           /* ghost: the client whose application uses a slot; 0: none */
#ifdef RACE
byte held_generation[LAST_THREAD + 1];
byte putting[NS];        /* ghost: puts between their look at the mark and their last store */
bool raced[NS];          /* ghost: two such puts at once */
#define RACED(s) raced[s]
#else
#define RACED(s) false
#endif
#if BROKEN == 12
#define EXEMPT(s) false
#else
#define EXEMPT(s) RACED(s)
#endif

#ifdef DAMAGE
/* An entry can be told to be damage as long as its slot's mark names another: until reclaim has looked (and, if
 * reclaim may be killed and look again, until it is through). */
bool looked;
#if RESTARTS > 0
#define MAY_PUT gone[1]
#else
#define MAY_PUT looked
#endif
#define LOOKED looked = true
#else
#define MAY_PUT true
#define LOOKED skip
#endif

/* ---- steps ---- */

/* One access to shared memory by a client, and the kill that may come right after it. */
#if CRASHES > 0
#define STEP(x) atomic { x; if :: crashes < CRASHES -> crashes++; goto die :: skip fi }
#else
#define STEP(x) atomic { x }
#endif
/* The same of the daemon. */
#if RESTARTS > 0
#define DSTEP(x) atomic { x; if :: restarts < RESTARTS -> restarts++; goto recovery :: skip fi }
#else
#define DSTEP(x) atomic { x }
#endif

/* Hints may name any magazine, so a claim may meet any. Of those that are empty and in the ring it takes the
 * first: they are alike. */
#if BROKEN == 10
#define E(i) false /* a look at one after the other tells them apart */
#else
#define E(i) (own[i] == 0 && cnt[i] == 0)
#endif
#define F0 (own[0] == 0)
#define F1 (own[1] == 0 && (cnt[1] > 0 || !E(0)))
#define F2 (own[2] == 0 && (cnt[2] > 0 || !(E(0) || E(1))))
#define F3 (own[3] == 0 && (cnt[3] > 0 || !(E(0) || E(1) || E(2))))
#define F4 (own[4] == 0 && (cnt[4] > 0 || !(E(0) || E(1) || E(2) || E(3))))
inline claim_any(m, me) {
  if
  :: F0 -> m = 0
  :: F1 -> m = 1
  :: F2 -> m = 2
#if NM > 3
  :: F3 -> m = 3
#endif
#if NM > 4
  :: F4 -> m = 4
#endif
  :: else -> m = NONE
  fi;
  if :: m != NONE -> own[m] = me :: else fi
}
/* claim_with_room: claims until it has met one with room. */
inline claim_room(m, me) {
  if
  :: F0 && cnt[0] < B -> m = 0
  :: F1 && cnt[1] < B -> m = 1
  :: F2 && cnt[2] < B -> m = 2
#if NM > 3
  :: F3 && cnt[3] < B -> m = 3
#endif
#if NM > 4
  :: F4 && cnt[4] < B -> m = 4
#endif
  :: else -> m = NONE
  fi;
  if :: m != NONE -> own[m] = me :: else fi
}

/* What lies above a count is never read: forgotten, so that states which differ in nothing else are one. */
#if BROKEN == 2
#define COUNT_DOWN(m) cnt[m] = cnt[m] - 1
#else
#define COUNT_DOWN(m) cnt[m] = cnt[m] - 1; sl[(m) * B + cnt[m]] = 0
#endif

#define USES(s, who) assert(user[s] == 0 || EXEMPT(s)); user[s] = who
#define NO_MORE(s, who) assert(user[s] == who || RACED(s)); user[s] = 0

/* A buffer comes into the hands of a thread. */
#ifdef RACE
#define TAKES(s) held[th] = s; held_generation[th] = gn[s]
#else
#define TAKES(s) held[th] = s
#endif

/* A thread gives back what it has, or what its sibling has passed to it. */
#ifdef THREADS
#define SIBLING_HOLDS (me == 1 && held[SIBLING(th)] != NONE)
#else
#define SIBLING_HOLDS false
#endif
#define HOLDS (held[th] != NONE || SIBLING_HOLDS)
inline hands_over() {
  if
  :: held[th] != NONE -> out_of_hands(th)
#ifdef THREADS
  :: SIBLING_HOLDS -> out_of_hands(SIBLING(th))
#ifdef RACE
  :: SIBLING_HOLDS -> s = held[SIBLING(th)]; g = held_generation[SIBLING(th)] /* a copy of the handle */
#endif
#endif
  fi
}
inline out_of_hands(t) {
  s = held[t];
  held[t] = NONE;
#ifdef RACE
  g = held_generation[t];
  held_generation[t] = 0
#endif
}

#ifdef STEAL
/* A magazine that a thread owns and does not know of: it has been taken from it. */
#define UNNAMED(t, m) (own[m] == WORD_OF(t) && (steal[t] == S_TAKEN || (loaded[t] != m && PREVIOUS(t) != m)))
#ifdef THREADS
#define LAST_STEALABLE 1
#else
#define LAST_STEALABLE 2
#endif
/* With THREADS the daemon asks thread 1 only: its sibling is alike, and client 2 is asked without THREADS. */
#ifdef THREADS
#define MAY_BE_STOLEN (th == 1)
#else
#define MAY_BE_STOLEN true
#endif
/* REQ: I am awake. TAKEN: what the record lists is no longer mine. */
inline answer_steal() {
  if
  :: steal[th] == S_REQ -> STEP(if :: steal[th] == S_REQ -> steal[th] = S_NONE :: else fi)
  :: steal[th] == S_TAKEN ->
    STEP(loaded[th] = NONE);
#if MAGS == 2
    STEP(prev[th] = NONE);
#endif
    STEP(steal[th] = S_NONE)
  :: else
  fi
}
#endif

#ifdef THREADS
inline release_own(listed) {
  if
  :: listed != NONE -> STEP(assert(own[listed] == word_of_me); own[listed] = 0; listed = NONE)
  :: else
  fi
}
#endif

/* A thread's end by a kill. Its record stays as it is, until reclaim; without STEAL nobody reads it. */
inline ends(t) {
  held[t] = NONE;
#ifdef RACE
  held_generation[t] = 0;
#endif
#ifndef STEAL
  loaded[t] = NONE;
#if MAGS == 2
  prev[t] = NONE;
#endif
#endif
  skip
}

/* The kill of one thread is its sibling's: at its next step it finds its client dead. */
#if defined(THREADS) && CRASHES > 0
#define ENDS_WITH_SIBLING
#endif

/* ---- a thread of a client, and the application that it serves ---- */

proctype thread(byte th; byte me; byte word_of_me; byte ops) {
  byte m = 0;
  byte s = 0;
#ifdef GENERATIONS
  byte g = 0;
#endif
#if BROKEN == 7
  byte from_release = 0;
#endif
#ifdef ORDERS
  byte word = 0;
#endif
#ifdef BOUND
  byte bound = NS - 1;
#endif
#ifdef ENDS_WITH_SIBLING
  {
#endif
  do
  :: ops == 0 -> break
  :: ops > 0 ->
    ops--;
#ifdef STEAL
    if
    :: MAY_BE_STOLEN ->
      STEP(busy[th] = 1);
      if
      :: steal[th] != S_NONE ->
        STEP(busy[th] = 0);
        answer_steal();
        goto next
      :: else
      fi
    :: else
    fi;
#endif
    if
    :: loaded[th] == NONE -> /* claim */
      STEP(claim_any(m, word_of_me); loaded[th] = m; m = 0);
#ifdef BOUND
      bound = published
#endif
    :: loaded[th] != NONE -> /* release */
      STEP(assert(own[loaded[th]] == word_of_me); own[loaded[th]] = 0; loaded[th] = NONE)
#if MAGS == 2
    :: loaded[th] != NONE || prev[th] != NONE -> /* the two change places */
      STEP(m = loaded[th]; loaded[th] = prev[th]; prev[th] = m; m = 0)
#endif
    :: loaded[th] != NONE && held[th] == NONE && cnt[loaded[th]] > 0 -> /* get */
      s = sl[loaded[th] * B + cnt[loaded[th]] - 1];
#ifdef BOUND
      if
      :: s >= bound -> STEP(COUNT_DOWN(loaded[th])); goto got
      :: else
      fi;
#endif
      if
      :: mk[s] != FREE ->
#ifndef DAMAGE
        assert(RACED(s));
#endif
        STEP(COUNT_DOWN(loaded[th]))
      :: else ->
#if BROKEN == 1
        STEP(COUNT_DOWN(loaded[th]));
        STEP(mk[s] = me; TAKES(s); USES(s, me))
#else
        STEP(mk[s] = me);                                            /* get 1 */
        STEP(COUNT_DOWN(loaded[th]); TAKES(s); USES(s, me))          /* get 2: COMMIT */
#endif
      fi;
#ifdef BOUND
got:
#endif
      s = 0
    :: atomic { loaded[th] != NONE && HOLDS && cnt[loaded[th]] < B && MAY_PUT -> hands_over() }; /* put */
#ifdef RACE
      atomic {
        if
        :: mk[s] == me && gn[s] == g -> raced[s] = raced[s] || putting[s] > 0; putting[s]++; NO_MORE(s, me)
        :: else -> s = 0; g = 0; goto next /* put already */
        fi
      };
#else
      assert(mk[s] == me);
#endif
#if defined(BOUND) && BROKEN != 9
      bound = published; /* a slot that it did not get from a magazine of its own */
#endif
#if BROKEN == 2
      STEP(cnt[loaded[th]] = cnt[loaded[th]] + 1; NO_MORE(s, me));
      STEP(sl[loaded[th] * B + cnt[loaded[th]] - 1] = s);
      STEP(mk[s] = FREE; NEXT_GENERATION(s));
#elif BROKEN == 8
      STEP(mk[s] = FREE; NEXT_GENERATION(s); NO_MORE(s, me));
      STEP(sl[loaded[th] * B + cnt[loaded[th]]] = s);
      STEP(cnt[loaded[th]] = cnt[loaded[th]] + 1);
#elif defined(RACE)
      STEP(sl[loaded[th] * B + cnt[loaded[th]]] = s);
      STEP(cnt[loaded[th]] = cnt[loaded[th]] + 1);
      STEP(mk[s] = FREE; gn[s] = g + 1; putting[s]--);
      g = 0;
#elif BROKEN == 15
      /* back into the getter's magazine */
      m = ((me == 1 && loaded[SIBLING(th)] != NONE && cnt[loaded[SIBLING(th)]] < B) -> loaded[SIBLING(th)] : loaded[th]);
      STEP(sl[m * B + cnt[m]] = s; NO_MORE(s, me));
      STEP(cnt[m] = cnt[m] + 1);
      STEP(mk[s] = FREE; NEXT_GENERATION(s));
      m = 0;
#else
      STEP(sl[loaded[th] * B + cnt[loaded[th]]] = s; NO_MORE(s, me)); /* put 1 */
      STEP(cnt[loaded[th]] = cnt[loaded[th]] + 1);                    /* put 2: COMMIT */
      STEP(mk[s] = FREE; NEXT_GENERATION(s));                         /* put 3 */
#endif
      s = 0
#ifdef HANDOFF
    :: atomic { HOLDS -> hands_over() }; /* release for hand-off */
      assert(mk[s] == me);
#if BROKEN != 7
      STEP(NEXT_GENERATION(s); g = gn[s]);                           /* release 1: no sibling can any more */
#endif
      if
      :: STEP(note[s] = 0)                                           /* release 2 */
      :: STEP(note[s] = 3 - me)
      fi;
#if BROKEN == 7
      STEP(assert(mk[s] == me); mk[s] = TRANSIT(me); g = gn[s]; NO_MORE(s, me);
           releases[s] = releases[s] + 1; from_release = releases[s]);
      STEP(handle_slot = s; handle_gen = g; handle_release = from_release);
      from_release = 0;
#else
      STEP(assert(mk[s] == me); mk[s] = TRANSIT(me); NO_MORE(s, me)); /* release 3: COMMIT */
      STEP(handle_slot = s; handle_gen = g);
#endif
      s = 0; g = 0
    :: held[th] == NONE && handle_slot != NONE -> /* adopt; of one's own handle: take back */
      atomic {
        s = handle_slot; g = handle_gen;
#if BROKEN == 7
        from_release = handle_release;
#endif
      };
      STEP(
        if
        :: IN_TRANSIT(s) && gn[s] == g ->                            /* COMMIT */
#if BROKEN == 7
          assert(releases[s] == from_release);
#endif
          mk[s] = me; TAKES(s); USES(s, me)
        :: else
        fi
      );
      s = 0; g = 0;
#if BROKEN == 7
      from_release = 0;
#endif
#endif
#ifdef ORDERS
    :: loaded[th] == NONE && ORD_STATE(ord) == O_FREE -> /* order */
      word = ord;
      STEP(
        if
        :: ord == word && ORD_STATE(word) == O_FREE -> word = ORD(ORD_SEQ(word) + 1, me, O_WRITING); ord = word
        :: else -> word = 0
        fi
      );
      if
      :: word == 0 -> goto next
      :: else
      fi;
      word = word - O_WRITING + O_POSTED;
      STEP(assert(ord == word - O_POSTED + O_WRITING); ord = word);
      /* The one wait; its deadline may come at any time. */
      if
      :: atomic { ord == word - O_POSTED + O_GRANTED -> skip };
        /* accept: follow first_granted; here, look for the grant of this order */
        m = 0;
        do
        :: m == NM -> break
        :: m < NM ->
#if BROKEN == 4
          if :: own[m] == word_of_me -> loaded[th] = m :: else fi;
#else
          if
          :: own[m] == GRANT(me, ORD_SEQ(word)) ->
            STEP(assert(own[m] == GRANT(me, ORD_SEQ(word))); own[m] = word_of_me;
#if MAGS == 2
                 prev[th] = ((loaded[th] == NONE) -> prev[th] : loaded[th]);
#else
                 assert(loaded[th] == NONE);
#endif
                 loaded[th] = m)
          :: else
          fi;
#endif
          m++
        od;
        m = 0;
        assert(loaded[th] != NONE);
        STEP(ord = ORD_FREED(word))
      :: atomic { ord == word - O_POSTED + O_REFUSED -> skip };
        STEP(ord = ORD_FREED(word))
      :: true -> /* cancel */
        STEP(if :: ord == word -> ord = ORD_FREED(word); word = 0 :: else fi);
        if
        :: word != 0 -> /* answered at the last moment */
          if
          :: ord == word - O_POSTED + O_REFUSED -> STEP(ord = ORD_FREED(word))
          :: else ->
            assert(ord == word - O_POSTED + O_GRANTED);
            m = 0;
            do
            :: m == NM -> break
            :: m < NM ->
#if BROKEN == 4
              if :: own[m] == word_of_me -> loaded[th] = m :: else fi;
#else
              if
              :: own[m] == GRANT(me, ORD_SEQ(word)) -> STEP(own[m] = word_of_me; loaded[th] = m)
              :: else
              fi;
#endif
              m++
            od;
            m = 0;
            assert(loaded[th] != NONE);
            STEP(ord = ORD_FREED(word))
          fi
        :: else
        fi
      fi;
      word = 0
#endif
    :: skip
    fi;
#ifdef STEAL
    if :: MAY_BE_STOLEN -> STEP(busy[th] = 0) :: else fi;
#endif
next:
    skip
  od;
#ifdef THREADS
  /* A thread that is idle from here on, or one that ends: its magazines go back. */
  if
  :: true -> skip
  :: loaded[th] != NONE || PREVIOUS(th) != NONE ->
#if defined(STEAL) && BROKEN != 14
leave:
    if
    :: MAY_BE_STOLEN ->
      STEP(busy[th] = 1);
      if
      :: steal[th] != S_NONE ->
        STEP(busy[th] = 0);
        answer_steal();
        goto leave
      :: else
      fi
    :: else
    fi;
#endif
    release_own(loaded[th]);
#if MAGS == 2
    release_own(prev[th]);
#endif
#if BROKEN == 13
    atomic { dead[me] = true };
#endif
#ifdef STEAL
    if :: MAY_BE_STOLEN -> STEP(busy[th] = 0) :: else fi
#endif
  fi;
#endif
  atomic { quiet[th] = true; goto end };
#ifdef ENDS_WITH_SIBLING
  } unless { dead[me] -> goto killed };
#endif
die:
  atomic {
    dead[me] = true;
    s = 0;
    do :: s == NS -> break :: s < NS -> if :: user[s] == me -> user[s] = 0 :: else fi; s++ od;
    ends(th);
#ifdef THREADS
    if :: me == 1 -> ends(SIBLING(th)) :: else fi
#endif
  };
killed:
  atomic {
    s = 0; m = 0; ops = 0;
#ifdef GENERATIONS
    g = 0;
#endif
#ifdef ORDERS
    word = 0;
#endif
#ifdef BOUND
    bound = 0;
#endif
#if BROKEN == 7
    from_release = 0;
#endif
  };
end:
  skip
}

/* ---- the daemon ---- */

/* put steps by the daemon, of a slot whose mark is its own (or the dead's) */
inline daemon_put(m, s) {
  DSTEP(sl[(m) * B + cnt[m]] = s);
  DSTEP(cnt[m] = cnt[m] + 1);
  DSTEP(mk[s] = FREE; NEXT_GENERATION(s))
}

#if BROKEN == 16
#define IS_DEADS(w, d) ((w) == (d))
#else
#define IS_DEADS(w, d) ((w) != 0 && OWNER_CLIENT(w) == (d))
#endif
/* A mark that says "with the dead". */
#define HELD_BY(s, d) (mk[s] == ((d == DAEMON) -> ABSENT : (d)))
#define APPEARS_BELOW (e > 0 && (sl[j * B] == s || (e > 1 && sl[j * B + 1] == s)))
#if B > 3
#error "APPEARS_BELOW knows three entries"
#endif

/* Step 1 and 1': membership beats marks. */
inline mend_magazines(d) {
  j = 0;
  do
  :: j == NM -> break
  :: j < NM ->
    if
    :: IS_DEADS(own[j], d) ->
      e = cnt[j]; bad = 0;
      do
      :: e == 0 -> break
      :: e > 0 ->
        e--;
        s = sl[j * B + e];
        if
        :: APPEARS_BELOW -> bad = bad | (1 << e)
        :: !APPEARS_BELOW && HELD_BY(s, d) -> DSTEP(mk[s] = FREE; NEXT_GENERATION(s))
        :: atomic { !APPEARS_BELOW && !HELD_BY(s, d) && mk[s] != FREE -> bad = bad | (1 << e); LOOKED }
        :: else
        fi;
#ifndef DAMAGE
        assert(!(bad & (1 << e)) || RACED(s));
#endif
        skip
      od;
      do
      :: bad == 0 -> break
      :: bad != 0 ->
        e = cnt[j] - 1;
        s = sl[j * B + e];
        if
        :: bad & (1 << e) -> DSTEP(COUNT_DOWN(j)); bad = bad - (1 << e)
        :: else ->
          DSTEP(mk[s] = ((d == DAEMON) -> ABSENT : (d)));
          DSTEP(COUNT_DOWN(j))
        fi
      od;
      e = 0; s = 0
    :: else
    fi;
    j++
  od;
  j = 0
}

inline release_magazines(d) {
  j = 0;
  do
  :: j == NM -> break
  :: j < NM ->
    if
    :: IS_DEADS(own[j], d) -> DSTEP(own[j] = 0)
    :: else
    fi;
    j++
  od;
  j = 0
}

/* A magazine with room for reclaim: the last one, one that the dead has, one of the ring. */
inline reclaim_room(d) {
  if
  :: m != NONE && cnt[m] < B -> skip
  :: else ->
    m = 0;
    do
    :: m == NM -> m = NONE; break
    :: m < NM ->
      if :: IS_DEADS(own[m], d) && cnt[m] < B -> break :: else fi;
      m++
    od;
    if
    :: m == NONE ->
#if BROKEN == 10
      /* one look at each magazine in turn */
      m = 0;
      do
      :: m == NM -> m = NONE; break
      :: m < NM ->
        if
        :: atomic { own[m] == 0 && cnt[m] < B -> own[m] = d }; break
        :: else -> m++
        fi
      od
#else
      DSTEP(claim_room(m, d));
      assert(m != NONE) /* there is always room */
#endif
    :: else
    fi
  fi
}

/* Step 2 and 2'. */
inline collect_slots(d) {
  m = NONE; t = 0;
  do
  :: t == NS -> break
  :: t < NS ->
    k = 0;
    if
#ifdef HANDOFF
    :: IN_TRANSIT(t) ->
      g = gn[t];
      if
      :: note[t] == d ->
        DSTEP(if :: IN_TRANSIT(t) && gn[t] == g -> mk[t] = d; k = 1 :: else fi)
      :: else
      fi;
      g = 0
#endif
    :: mk[t] == d -> k = 1
    :: else
    fi;
    if
    :: k == 1 ->
      reclaim_room(d);
      if
      :: m != NONE -> daemon_put(m, t)
      :: else
      fi
    :: else
    fi;
    t++
  od;
  m = NONE; t = 0; k = 0
}

inline reclaim(d) {
#if BROKEN == 3
  /* believes marks: what a mark says is where a slot is */
  collect_slots(d);
#elif BROKEN == 6
  /* puts what is in transit before it is the dead's */
  mend_magazines(d);
  m = NONE; t = 0;
  do
  :: t == NS -> break
  :: t < NS ->
    if
    :: IN_TRANSIT(t) && note[t] == d ->
      reclaim_room(d);
      DSTEP(sl[m * B + cnt[m]] = t);
      DSTEP(cnt[m] = cnt[m] + 1);
      DSTEP(if :: IN_TRANSIT(t) -> mk[t] = FREE; NEXT_GENERATION(t) :: else fi)
    :: else
    fi;
    t++
  od;
  collect_slots(d);
#else
  mend_magazines(d);
  collect_slots(d);
#endif
  release_magazines(d);
#ifdef ORDERS
  k = ord;
  if
  :: ORD_STATE(k) != O_FREE && ORD_CLIENT(k) == d ->
    DSTEP(if :: ord == k -> ord = ORD_FREED(k) :: else fi)
  :: else
  fi;
  k = 0;
#endif
#ifdef STEAL
  j = 1;
  do
  :: j > LAST_THREAD -> break
  :: j <= LAST_THREAD ->
    if
    :: CLIENT_OF(j) == d ->
      DSTEP(loaded[j] = NONE);
#if MAGS == 2
      DSTEP(prev[j] = NONE);
#endif
      DSTEP(busy[j] = 0; steal[j] = S_NONE)
    :: else
    fi;
    j++
  od;
  j = 0;
#endif
  DSTEP(gone[d] = true)
}

#ifdef THREADS
#define ALL_QUIET(c) (quiet[c] && ((c) == 2 || quiet[3]))
#define IN_HANDS(c, s) (held[c] == s || ((c) == 1 && held[3] == s))
#else
#define ALL_QUIET(c) quiet[c]
#define IN_HANDS(c, s) (held[c] == s)
#endif
#define FINISHED(c) ((dead[c] && gone[c]) || ALL_QUIET(c))
#ifndef HANDOFF
#define ANY_IN_TRANSIT false
#elif NS == 2
#define ANY_IN_TRANSIT (IN_TRANSIT(0) || IN_TRANSIT(1))
#else
#define ANY_IN_TRANSIT (IN_TRANSIT(0) || IN_TRANSIT(1) || IN_TRANSIT(2))
#endif

proctype daemon() {
  byte d = 0;
  byte j = 0;
  byte e = 0;
  byte bad = 0;
  byte s = 0;
  byte m = NONE;
  byte t = 0;
  byte k = 0;
  byte g = 0;
  goto work;

recovery: /* by the words, after a kill of the daemon */
  skip;
  d_step { j = 0; e = 0; bad = 0; s = 0; m = NONE; t = 0; k = 0; g = 0; d = DAEMON };
  mend_magazines(d);
  release_magazines(d);
#ifdef ORDERS
  /* grants whose order is not Granted with that sequence; before any order is served */
  j = 0;
  do
  :: j == NM -> break
  :: j < NM ->
    k = own[j];
    if
    :: k >= 16 ->
      s = ord;
      if
      :: !(ORD_STATE(s) == O_GRANTED && k == GRANT(ORD_CLIENT(s), ORD_SEQ(s))) ->
        DSTEP(if :: own[j] == k -> own[j] = 0 :: else fi)
      :: else
      fi
    :: else
    fi;
    j++
  od;
  j = 0; s = 0; k = 0;
#endif
#ifdef STEAL
  d = 1;
  do
  :: d > LAST_THREAD -> break
  :: d <= LAST_THREAD -> DSTEP(if :: steal[d] == S_REQ -> steal[d] = S_NONE :: else fi); d++
  od;
#if BROKEN != 18 && RESTARTS > 0
  unfinished = true;
#endif
#endif
  d = 0;
#if defined(PUBLISH) || defined(HANDOFF)
  /* what the daemon had in its hands, of what the ledger says is published */
  t = 0;
  do
  :: t == NS -> break
  :: t < NS ->
    if
#ifdef PUBLISH
    :: mk[t] == ABSENT && in_ledger[t] ->
#else
    :: mk[t] == ABSENT ->
#endif
      DSTEP(claim_room(m, DAEMON));
      assert(m != NONE);
      daemon_put(m, t);
      DSTEP(own[m] = 0; m = NONE)
    :: else
    fi;
    t++
  od;
  t = 0;
#endif

work:
  do
  :: dead[1] && !gone[1] -> d = 1; reclaim(d); d = 0
  :: dead[2] && !gone[2] -> d = 2; reclaim(d); d = 0
#ifdef HANDOFF
  /* a lease is over, whenever that is */
  :: ANY_IN_TRANSIT ->
    if
    :: IN_TRANSIT(0) -> t = 0
    :: IN_TRANSIT(1) -> t = 1
#if NS > 2
    :: IN_TRANSIT(2) -> t = 2
#endif
    :: else -> t = 0
    fi;
    g = gn[t];
    DSTEP(claim_room(m, DAEMON));
    if
    :: m != NONE ->
      DSTEP(if :: IN_TRANSIT(t) && gn[t] == g -> mk[t] = ABSENT; k = 1 :: else fi);
      if :: k == 1 -> daemon_put(m, t) :: else fi;
      DSTEP(own[m] = 0; m = NONE)
    :: else
    fi;
    k = 0; g = 0; t = 0
#endif
#ifdef ORDERS
  :: ORD_STATE(ord) == O_POSTED ->
    k = ord;
    if
    :: ORD_STATE(k) == O_POSTED -> /* O1 */
      if
      :: true ->
        DSTEP(claim_any(m, DAEMON));
        if
        :: m == NONE -> skip
        :: else ->
          if
          :: cnt[m] == 0 -> DSTEP(own[m] = 0)
          :: else ->
#if BROKEN == 4
            DSTEP(own[m] = ORD_CLIENT(k));                            /* grant 1, untagged */
#else
            DSTEP(own[m] = GRANT(ORD_CLIENT(k), ORD_SEQ(k)));         /* grant 1 */
#endif
            DSTEP(if :: ord == k -> ord = k - O_POSTED + O_GRANTED; m = NONE :: else fi); /* grant 2: COMMIT */
            if
            :: m != NONE -> DSTEP(own[m] = 0) /* cancelled: goes back */
            :: else
            fi
          fi
        fi
      :: true -> /* refuse */
        DSTEP(if :: ord == k -> ord = k - O_POSTED + O_REFUSED :: else fi)
      fi
    :: else
    fi;
    k = 0; m = NONE
#endif
#ifdef PUBLISH
  :: acts < ACTS -> /* publish what the ledger has not */
    acts++;
    t = 0;
    do
    :: t == NS - 1 || !in_ledger[t] -> break
    :: else -> t++
    od;
    if
    :: !in_ledger[t] ->
      DSTEP(in_ledger[t] = true);
#ifdef BOUND
      DSTEP(published = NS);
#endif
      DSTEP(claim_room(m, DAEMON));
      assert(m != NONE);
      daemon_put(m, t);
      DSTEP(own[m] = 0; m = NONE)
    :: else
    fi;
    t = 0
  :: acts < ACTS -> /* withdraw: empty a magazine by get steps; keep one slot of it, put the others back */
    acts++;
    DSTEP(claim_any(m, DAEMON));
    if
    :: m != NONE ->
      bad = 0; /* here: a bit a slot taken */
      do
      :: cnt[m] == 0 -> break
      :: cnt[m] > 0 ->
        s = sl[m * B + cnt[m] - 1];
        assert(mk[s] == FREE);
        DSTEP(mk[s] = ABSENT);
        DSTEP(COUNT_DOWN(m); bad = bad | (1 << s))
      od;
      DSTEP(own[m] = 0; m = NONE);
      s = 0; t = NS;
      do
      :: s == NS -> break
      :: s < NS ->
        if
        :: !(bad & (1 << s)) -> skip
        :: (bad & (1 << s)) && t == NS -> t = s; DSTEP(in_ledger[s] = false) /* punched */
        :: bad & (1 << s) ->
          DSTEP(claim_room(m, DAEMON));
          assert(m != NONE);
          daemon_put(m, s);
          DSTEP(own[m] = 0; m = NONE)
        fi;
        s++
      od;
      bad = 0; s = 0; t = 0
    :: else
    fi;
    m = NONE
#endif
#if defined(STEAL) && RESTARTS > 0
  /* What a steal that was broken off has taken from a thread, and nobody has released: no record names it. The thread
   * is asked again, and what is its by the owner words, listed between the look at busy and TAKEN, is released. */
  :: unfinished ->
    d_step {
      d = 1;
      k = 0;
      do
      :: d > LAST_STEALABLE || k == 1 -> break
      :: d <= LAST_STEALABLE && k == 0 ->
        j = 0;
        do
        :: j == NM || k == 1 -> break
        :: j < NM && k == 0 ->
          if
          :: !dead[CLIENT_OF(d)] && UNNAMED(d, j) -> k = 1
          :: else
          fi;
          j++
        od;
        if :: k == 0 -> d++ :: else fi
      od;
      j = 0;
      if :: k == 0 -> unfinished = false; d = 0 :: else fi
    };
    if
    :: k == 1 ->
      DSTEP(if :: steal[d] == S_NONE && !dead[CLIENT_OF(d)] -> steal[d] = S_REQ :: steal[d] == S_TAKEN -> skip :: else -> k = 0 fi);
      /* membarrier */
      if
      :: k == 1 && busy[d] -> DSTEP(if :: steal[d] == S_REQ -> steal[d] = S_NONE :: else fi)
      :: k == 1 && !busy[d] ->
        d_step {
          e = 0;
          j = 0;
          do
          :: j == NM -> break
          :: j < NM -> if :: own[j] == WORD_OF(d) -> e = e | (1 << j) :: else fi; j++
          od;
          j = 0
        };
        DSTEP(if :: steal[d] == S_REQ -> steal[d] = S_TAKEN :: steal[d] == S_TAKEN -> skip :: else -> k = 0; e = 0 fi);
        do
        :: j == NM -> break
        :: j < NM ->
          if
          :: e & (1 << j) -> DSTEP(if :: own[j] == WORD_OF(d) -> own[j] = 0 :: else fi)
          :: else
          fi;
          j++
        od;
        j = 0
      :: k == 0 -> skip
      fi
    :: k == 0 -> skip
    fi;
    e = 0; k = 0; d = 0
#endif
#ifdef STEAL
  :: acts < ACTS ->
    acts++;
    if
    :: d = 1
#ifndef THREADS
    :: d = 2
#endif
    fi;
    /* Not of one whose pidfd says that it is dead: a daemon that was killed at its reclaim has left windows in its
     * magazines, whatever its busy says. */
#if BROKEN == 17
#define MAY_ASK true
#else
#define MAY_ASK !dead[d]
#endif
    DSTEP(if :: steal[d] == S_NONE && MAY_ASK -> steal[d] = S_REQ; k = 1 :: else -> k = 0 fi);
    /* membarrier */
    if
#if BROKEN == 5
    :: k == 1 ->
#else
    :: k == 1 && busy[d] -> DSTEP(if :: steal[d] == S_REQ -> steal[d] = S_NONE :: else fi)
    :: k == 1 && !busy[d] ->
#endif
#if BROKEN != 11
      m = loaded[d]; /* what is listed is read before TAKEN: it is stable while REQ stands */
#if MAGS == 2
      e = prev[d];
#endif
#endif
      DSTEP(if :: steal[d] == S_REQ -> steal[d] = S_TAKEN :: else -> k = 0 fi);
      if
      :: k == 1 ->
#if BROKEN == 11
        m = loaded[d];
#endif
        if
        :: m != NONE -> DSTEP(if :: own[m] == WORD_OF(d) -> own[m] = 0 :: else fi)
        :: else
        fi;
#if MAGS == 2
#if BROKEN == 11
        e = prev[d];
#endif
        if
        :: e != NONE -> DSTEP(if :: own[e] == WORD_OF(d) -> own[e] = 0 :: else fi)
        :: else
        fi;
#endif
      :: else
      fi
    :: k == 0 -> skip
    fi;
    m = NONE; e = 0; k = 0; d = 0
#endif
  :: FINISHED(1) && FINISHED(2) && !ANY_IN_TRANSIT && STEALS_FINISHED -> break
  od;

  /* The end: nobody is at work. Every slot is in one place, and nothing is the dead's. */
  skip;
  d_step {
    j = 0;
    do
    :: j == NM -> break
    :: j < NM ->
      k = own[j];
      assert(k == 0 || (k != DAEMON && k < 16 && quiet[THREAD_OF(k)] && !dead[OWNER_CLIENT(k)]));
      /* What a live client owns, it knows of. */
#ifdef STEAL
      assert(k == 0 || !UNNAMED(THREAD_OF(k), j));
#else
      assert(k == 0 || loaded[THREAD_OF(k)] == j || PREVIOUS(THREAD_OF(k)) == j);
#endif
      assert(cnt[j] <= B);
      j++
    od;
    s = 0;
    do
    :: s == NS -> break
    :: s < NS ->
      j = 0; k = 0; /* k: in how many magazines */
      do
      :: j == NM -> break
      :: j < NM ->
        e = 0;
        do
        :: e == cnt[j] -> break
        :: e < cnt[j] -> if :: sl[j * B + e] == s -> k++ :: else fi; e++
        od;
        j++
      od;
      if
      :: RACED(s) -> skip
      :: !RACED(s) && mk[s] == FREE -> assert(k == 1 && user[s] == 0)
      :: !RACED(s) && mk[s] == ABSENT -> assert(k == 0 && user[s] == 0)
      :: else -> assert(k == 0 && mk[s] < DAEMON && ALL_QUIET(mk[s]) && IN_HANDS(mk[s], s) && user[s] == mk[s])
      fi;
#ifdef PUBLISH
      assert(in_ledger[s] == (mk[s] != ABSENT));
#else
      assert(mk[s] != ABSENT);
#endif
      s++
    od;
#ifdef ORDERS
    assert(ORD_STATE(ord) == O_FREE);
#endif
    j = 0; k = 0; e = 0; s = 0
  }
}

init {
  atomic {
    byte s = 0;
#ifdef PUBLISH
#define FIRST (NS - 1)
#else
#define FIRST NS
#endif
    do
    :: s == FIRST -> break
    :: s < FIRST ->
      sl[s] = s; /* fills magazine after magazine */
      cnt[s / B] = cnt[s / B] + 1;
      mk[s] = FREE;
#ifdef PUBLISH
      in_ledger[s] = true;
#endif
      s++
    od;
#ifdef DAMAGE
    /* Magazine 0 is the dead's: slot 0 is with client 2, slot 1 in its place. */
    own[0] = 1; dead[1] = true; mk[0] = 2; held[2] = 0; user[0] = 2;
#endif
    s = 0;
#ifndef DAMAGE
    run thread(1, 1, WORD_OF(1), OPS);
#endif
    run thread(2, 2, WORD_OF(2), OPS2);
#ifdef THREADS
    run thread(3, 1, WORD_OF(3), OPS);
#endif
    run daemon()
  }
}
