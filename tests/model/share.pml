/* A shared slot: opened, handed on by tickets, joined, dropped, ended by the last one; reclaim, leases, and a daemon that
 * restarts. What the words mean: lib/include/zeropool/lib/share_cell.hpp. How a slot comes from the ring and goes back is
 * one step here: zeropool.pml is about that.
 *
 * Run by tests/model/check. By hand: as zeropool.pml.
 *
 * Bounds:
 *   OPS1, OPS2, OPS3  operations of clients 1, 2 and 3     CRASHES  kills of clients, at most one each
 *   RESTARTS  kills of the daemon     NC  share cells (1 or 2)     NS  slots (1 or 2)
 * Each client has one word of holds in a cell, as if it were always the same: which of the words it is matters to nobody.
 * BROKEN=n: protocols that must fail; see tests/model/README.md.
 */
#ifndef BROKEN
#define BROKEN 0
#endif
#ifndef OPS1
#define OPS1 3
#endif
#ifndef OPS2
#define OPS2 2
#endif
#ifndef OPS3
#define OPS3 0
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef RESTARTS
#define RESTARTS 0
#endif
#ifndef NC
#define NC 1
#endif
#ifndef NS
#define NS 1
#endif
#if OPS3 > 0
#define CLIENTS 3
#else
#define CLIENTS 2
#endif
#define DAEMON 4
#define NONE 255

/* State word: {version, operand, state}. Always compared and changed as one. */
#define FREE 0
#define OPENING 1
#define ALIVE 2
#define DYING 3
#define WORD(v, o, st) (64 * (v) + 4 * (o) + (st))
#define STATE(w) ((w) % 4)
#define OPERAND(w) (((w) / 4) % 16)
#if BROKEN == 1
#define NEXT(w, o, st) WORD((w) / 64 + ((st) != ALIVE || STATE(w) != ALIVE), o, st) /* tickets make no new version */
#else
#define NEXT(w, o, st) WORD((w) / 64 + 1, o, st)
#endif
#define TICKETS(w) ((STATE(w) == ALIVE) -> OPERAND(w) : 0)
#define BY(w) ((STATE(w) == OPENING || STATE(w) == DYING) -> OPERAND(w) : 0)

/* Mark: holder mk[] and generation gn[]. */
#define IN_RING 0
#define ABSENT 4
#define SHARED(c) (8 + (c)) /* by cell c; 1 to 3: held by a client */

int sw[NC];                  /* state words */
byte cell_slot[NC];
byte cell_gen[NC];
byte hold[NC * 4];           /* by cell and client */
byte mk[NS];
byte gn[NS];
byte handle_slot = NONE;     /* the last one sent; whoever likes keeps a copy of it */
byte handle_gen;
byte mine[4] = NONE;         /* the cell that a client has a hold of, as it believes */
bool dead[4];
bool quiet[4];
bool gone[4];
byte crashes = 0;
byte restarts = 0;
byte reads[NS];              /* ghost: a bit for each client whose application reads the slot */
byte user[NS];               /* ghost: who has it to write */

#if CRASHES > 0
#define STEP(x) atomic { x; if :: crashes < CRASHES -> crashes++; goto die :: skip fi }
#else
#define STEP(x) atomic { x }
#endif
#if RESTARTS > 0
#define DSTEP(x) atomic { x; if :: restarts < RESTARTS -> restarts++; goto recovery :: skip fi }
#else
#define DSTEP(x) atomic { x }
#endif

#define HAS(s) assert(user[s] == 0 && reads[s] == 0)
#define NAMES(c, s) (mk[s] == SHARED(c) && cell_gen[c] == gn[s] && cell_slot[c] == s)

/* R4: ends the share of cell c if it was the last, and puts the slot. */
inline put_if_last(c) {
  w = sw[c];
  if
  :: STATE(w) == ALIVE && OPERAND(w) == 0 ->
    i = 1;
    do
    :: i > CLIENTS -> break
    :: i <= CLIENTS && hold[c * 4 + i] != 0 -> break
    :: i <= CLIENTS && hold[c * 4 + i] == 0 -> i++
    od;
    if
    :: i > CLIENTS ->
      STEP(if :: sw[c] == w -> sw[c] = NEXT(w, me, DYING); k = 1 :: else -> k = 0 fi); /* end 1 */
      if
      :: k == 1 -> take_shared(c)
      :: else
      fi
    :: else
    fi
  :: else
  fi;
  w = 0; i = 0; k = 0
}
inline take_shared(c) {
  s = cell_slot[c];
#if BROKEN == 3
  STEP(sw[c] = NEXT(sw[c], 0, FREE));
#endif
  STEP(if :: NAMES(c, s) -> HAS(s); mk[s] = me; gn[s] = gn[s] + 1; user[s] = me; k = 2 :: else fi); /* end 2: COMMIT */
#if BROKEN != 3
  STEP(sw[c] = NEXT(sw[c], 0, FREE));                                                              /* end 3 */
#endif
  if
  :: k == 2 -> STEP(mk[s] = IN_RING; gn[s] = gn[s] + 1; user[s] = 0) /* put */
  :: else
  fi;
  s = 0
}

proctype client(byte me; byte ops) {
  byte c = 0;
  byte s = 0;
  byte g = 0;
  byte i = 0;
  byte k = 0;
  int w = 0;
  do
  :: ops == 0 -> break
  :: ops > 0 ->
    ops--;
    if
    :: mine[me] == NONE -> /* get, and share */
      if
      :: mk[0] == IN_RING -> s = 0
#if NS > 1
      :: mk[1] == IN_RING -> s = 1
#endif
      :: else -> goto next
      fi;
      STEP(if :: mk[s] == IN_RING -> HAS(s); mk[s] = me; gn[s] = gn[s] + 1; user[s] = me; k = 1 :: else fi);
      if :: k == 0 -> goto next :: else fi;
      k = 0;
      if
      :: c = 0
#if NC > 1
      :: c = 1
#endif
      fi;
      w = sw[c];
      if
      :: STATE(w) == FREE ->
        STEP(if :: sw[c] == w -> sw[c] = NEXT(w, me, OPENING); k = 1 :: else fi) /* open 1 */
      :: else
      fi;
      if
      :: k == 1 ->
        STEP(cell_slot[c] = s; cell_gen[c] = gn[s] + 1);                           /* open 2 */
        STEP(hold[c * 4 + me] = hold[c * 4 + me] + 1);
        STEP(sw[c] = NEXT(sw[c], 0, ALIVE));                                       /* open 3 */
        STEP(assert(mk[s] == me); mk[s] = SHARED(c); gn[s] = gn[s] + 1; user[s] = 0;
             reads[s] = reads[s] | (1 << me); mine[me] = c)                        /* open 4: COMMIT */
      :: k == 0 -> STEP(mk[s] = IN_RING; gn[s] = gn[s] + 1; user[s] = 0) /* no cell: put */
      fi
    :: mine[me] != NONE -> /* hand on */
      c = mine[me];
      do
      :: w = sw[c];
        assert(STATE(w) == ALIVE); /* as long as I have a hold */
        if
        :: TICKETS(w) == 2 -> break
        :: else
        fi;
        STEP(if :: sw[c] == w -> sw[c] = NEXT(w, TICKETS(w) + 1, ALIVE); k = 1; handle_slot = cell_slot[c]; handle_gen = cell_gen[c] :: else fi);
        if :: k == 1 -> break :: else fi
      od
    :: mine[me] == NONE && handle_slot != NONE -> /* adopt */
      atomic { s = handle_slot; g = handle_gen };
      atomic { if :: mk[s] >= SHARED(0) && gn[s] == g -> c = mk[s] - SHARED(0) :: else -> goto next fi };
#if BROKEN != 4
      STEP(hold[c * 4 + me] = hold[c * 4 + me] + 1);                               /* join 1 */
#endif
      do
      :: w = sw[c];
        if
        :: TICKETS(w) == 0 -> break
        :: else
        fi;
#if BROKEN != 2
        if
        :: !(mk[s] == SHARED(c) && gn[s] == g) -> break
        :: else
        fi;
#endif
        STEP(if :: sw[c] == w -> sw[c] = NEXT(w, TICKETS(w) - 1, ALIVE); k = 1;    /* join 2: COMMIT */
#if BROKEN != 4
               assert(mk[s] == SHARED(c) && gn[s] == g); reads[s] = reads[s] | (1 << me); mine[me] = c
#endif
             :: else fi);
        if :: k == 1 -> break :: else fi
      od;
#if BROKEN == 4
      if
      :: k == 1 -> STEP(hold[c * 4 + me] = hold[c * 4 + me] + 1; mine[me] = c; reads[s] = reads[s] | (1 << me);
                        assert(mk[s] == SHARED(c) && gn[s] == g && user[s] == 0))
      :: else
      fi;
#else
      if
      :: k == 0 ->
        STEP(hold[c * 4 + me] = hold[c * 4 + me] - 1);
#if BROKEN != 7
        put_if_last(c)
#endif
      :: else
      fi
#endif
    :: mine[me] != NONE -> /* drop */
      c = mine[me];
      STEP(hold[c * 4 + me] = hold[c * 4 + me] - 1; s = cell_slot[c]; reads[s] = reads[s] & (255 - (1 << me)); mine[me] = NONE); /* drop 1 */
#if BROKEN != 5
      put_if_last(c)
#endif
    :: mine[me] != NONE && hold[mine[me] * 4 + me] == 1 -> /* unshare: the only hold; then put */
      c = mine[me];
      w = sw[c];
      if
      :: STATE(w) == ALIVE && OPERAND(w) == 0 ->
        i = 1;
        do
        :: i > CLIENTS -> break
        :: i <= CLIENTS && i != me && hold[c * 4 + i] != 0 -> break
        :: i <= CLIENTS && !(i != me && hold[c * 4 + i] != 0) -> i++
        od;
        if
        :: i > CLIENTS ->
          STEP(if :: sw[c] == w -> sw[c] = NEXT(w, me, DYING); k = 1 :: else fi);
          if
          :: k == 1 ->
            STEP(hold[c * 4 + me] = hold[c * 4 + me] - 1; s = cell_slot[c]; reads[s] = reads[s] & (255 - (1 << me)); mine[me] = NONE);
            take_shared(c)
          :: else
          fi
        :: else
        fi
      :: else
      fi
    fi;
next:
    atomic { c = 0; s = 0; g = 0; i = 0; k = 0; w = 0 }
  od;
  atomic { quiet[me] = true; goto end };
die:
  atomic {
    dead[me] = true; mine[me] = NONE; ops = 0;
    s = 0;
    do
    :: s == NS -> break
    :: s < NS -> reads[s] = reads[s] & (255 - (1 << me)); if :: user[s] == me -> user[s] = 0 :: else fi; s++
    od;
    c = 0; s = 0; g = 0; i = 0; k = 0; w = 0
  };
end:
  skip
}

/* ---- the daemon ---- */

/* Cell c, if nobody has a hold and no ticket is out, or a daemon was about to. */
inline end_if_over(c) {
  w = sw[c];
  k = 0;
  if
  :: BY(w) == DAEMON -> k = 1
  :: STATE(w) == ALIVE && OPERAND(w) == 0 ->
    i = 1;
    do
    :: i > CLIENTS -> break
    :: i <= CLIENTS && hold[c * 4 + i] != 0 -> break
    :: i <= CLIENTS && hold[c * 4 + i] == 0 -> i++
    od;
    if
    :: i > CLIENTS -> DSTEP(if :: sw[c] == w -> sw[c] = NEXT(w, DAEMON, DYING); k = 1 :: else fi)
    :: else
    fi
  :: else
  fi;
  if
  :: k == 1 ->
    s = cell_slot[c];
    k = 0;
    DSTEP(if :: NAMES(c, s) -> HAS(s); mk[s] = ABSENT; gn[s] = gn[s] + 1; k = 1 :: else fi);
    if :: k == 1 -> DSTEP(mk[s] = IN_RING; gn[s] = gn[s] + 1) :: else fi;
    DSTEP(sw[c] = NEXT(sw[c], 0, FREE))
  :: else
  fi;
  w = 0; k = 0; i = 0; s = 0
}

inline reclaim(d) {
  /* what it holds, by mark: zeropool.pml */
  s = 0;
  do
  :: s == NS -> break
  :: s < NS -> if :: mk[s] == d -> DSTEP(mk[s] = IN_RING; gn[s] = gn[s] + 1) :: else fi; s++
  od;
  s = 0;
  c = 0;
  do
  :: c == NC -> break
  :: c < NC ->
#if BROKEN == 6
    if :: hold[c * 4 + d] != 0 || BY(sw[c]) == d -> looked[c] = 1 :: else looked[c] = 0 fi;
#endif
    if :: hold[c * 4 + d] != 0 -> DSTEP(hold[c * 4 + d] = 0) :: else fi;
    if :: BY(sw[c]) == d -> DSTEP(sw[c] = NEXT(sw[c], DAEMON, DYING)) :: else fi;
    c++
  od;
  c = 0;
  do
  :: c == NC -> break
  :: c < NC ->
#if BROKEN == 6
    if :: looked[c] -> end_if_over(c) :: else fi;
#else
    end_if_over(c);
#endif
    c++
  od;
  c = 0;
  DSTEP(gone[d] = true)
}

#define FINISHED(d) (quiet[d] || (dead[d] && gone[d]))
#if CLIENTS == 3
#define ALL_FINISHED (FINISHED(1) && FINISHED(2) && FINISHED(3))
#else
#define ALL_FINISHED (FINISHED(1) && FINISHED(2))
#endif
#if NC == 2
#define TICKETS_OUT (TICKETS(sw[0]) > 0 || TICKETS(sw[1]) > 0)
#define DAEMONS (BY(sw[0]) == DAEMON || BY(sw[1]) == DAEMON)
#else
#define TICKETS_OUT (TICKETS(sw[0]) > 0)
#define DAEMONS (BY(sw[0]) == DAEMON)
#endif

proctype daemon() {
  byte d = 0;
  byte c = 0;
  byte s = 0;
  byte i = 0;
  byte k = 0;
  int w = 0;
#if BROKEN == 6
  bool looked[NC];
#endif
  goto work;

recovery:
  skip;
  d_step { d = 0; c = 0; s = 0; i = 0; k = 0; w = 0 };
  s = 0;
  do
  :: s == NS -> break
  :: s < NS -> if :: mk[s] == ABSENT -> DSTEP(mk[s] = IN_RING; gn[s] = gn[s] + 1) :: else fi; s++
  od;
  s = 0;

work:
  do
  :: dead[1] && !gone[1] -> d = 1; reclaim(d); d = 0
  :: dead[2] && !gone[2] -> d = 2; reclaim(d); d = 0
#if CLIENTS == 3
  :: dead[3] && !gone[3] -> d = 3; reclaim(d); d = 0
#endif
  /* what a daemon before this one was about */
  :: DAEMONS ->
    if :: BY(sw[0]) == DAEMON -> c = 0 :: else -> c = NC - 1 fi;
    end_if_over(c);
    c = 0
  /* a lease is over, whenever that is */
  :: TICKETS_OUT ->
    if :: TICKETS(sw[0]) > 0 -> c = 0 :: else -> c = NC - 1 fi;
    w = sw[c];
    if
    :: TICKETS(w) > 0 ->
      DSTEP(if :: sw[c] == w -> sw[c] = NEXT(w, 0, ALIVE); k = 1 :: else fi);
#if BROKEN != 8
      end_if_over(c)
#endif
    :: else
    fi;
    c = 0; w = 0; k = 0
  /* its sweep: only for what a daemon that was killed has not looked at; clients look themselves (R4) */
  :: restarts > 0 && ALL_FINISHED && !TICKETS_OUT && !DAEMONS ->
    c = 0;
    do
    :: c == NC -> break
    :: c < NC -> end_if_over(c); c++
    od;
    c = 0;
    break
  :: restarts == 0 && ALL_FINISHED && !TICKETS_OUT && !DAEMONS -> break
  od;

  /* The end: nobody is at work. */
  skip;
  d_step {
    c = 0;
    do
    :: c == NC -> break
    :: c < NC ->
      k = 0;
      i = 1;
      do
      :: i > CLIENTS -> break
      :: i <= CLIENTS ->
        assert(hold[c * 4 + i] <= 1);
        assert(hold[c * 4 + i] == 0 || (quiet[i] && mine[i] == c));
        k = k + hold[c * 4 + i];
        i++
      od;
      assert((STATE(sw[c]) == ALIVE && k > 0) || (STATE(sw[c]) == FREE && k == 0));
      c++
    od;
    s = 0;
    do
    :: s == NS -> break
    :: s < NS ->
      if
      :: mk[s] == IN_RING -> assert(user[s] == 0 && reads[s] == 0)
      :: else -> assert(mk[s] >= SHARED(0) && NAMES(mk[s] - SHARED(0), s) && STATE(sw[mk[s] - SHARED(0)]) == ALIVE && reads[s] != 0)
      fi;
      s++
    od;
    c = 0; s = 0; i = 0; k = 0
  }
}

init {
  atomic {
    run client(1, OPS1);
    run client(2, OPS2);
#if OPS3 > 0
    run client(3, OPS3);
#endif
    run daemon()
  }
}
