"""Refusals in words, in English and other languages: their writer says that there is no answer to what was asked.

A refusal has a form that descriptions of text don't have: it begins by saying sorry, or "as an AI", and then that its
writer can't; or with what its writer can't do of what was asked; or it says that the feature does nothing. What speaks
of apologies or refusals begins otherwise ("apologies such as …"). What also stands in the text that the writer read may
be a name for that, so it is no refusal.

All patterns are for text in small letters, whose words stand between single spaces, without punctuation.
"""

import re

_SORRY = (
    r"(?:(?:i am|i m|we are|we re) (?:\w+ )?)?sorry|(?:i|we) apologi[sz]e|(?:my )?apologies|unfortunately|regrettably"
    r"|(?:i am|i m)(?: just| only)? an ai(?: \w+){0,3}"
    r"|as an? (?:ai|artificial intelligence|(?:large )?language model|llm|(?:\w+ )?assistant)(?: \w+){0,3}?"
)
_NOT_ABLE = (
    r"(?:can ?not|can t|could not|couldn t|am unable to|m unable to|are unable to|am not able to|m not able to|won t"
    r"|will not|would not|wouldn t|do not|don t|must decline|have to decline|need more|must refuse)"
)
_ASKED = (
    r"(?:help|assist|answer|comply|provide|determine|identify|label|explain|describe|fulfill|fulfil|do (?:that|this)"
    r"|discern|tell what|say what|generate|complete|summari[sz]e|see (?:a|any|what)|find (?:a|any|what)|infer|conclude)"
)
_FEATURE = r"(?:the|this) (?:neuron|feature|latent|label)"
_ENGLISH = re.compile(
    r"(?:(?:label|answer|response) )?(?:"
    rf"(?:(?:{_SORRY})(?: (?:but|however|for|about|the|this|that|any|confusion|inconvenience)){{0,5}} )+"
    rf"(?:(?:i|we) {_NOT_ABLE}|(?:i |we |am |m |are )*unable to|no (?:label|pattern|answer))"
    rf"|(?:i|we) {_NOT_ABLE} {_ASKED}"
    r"|(?:i|we) (?:do not|don t) (?:know|have (?:enough|sufficient|access|any)|see (?:a|any|enough)|find (?:a|any))"
    r"|as an ai(?: language)? (?:model|assistant)"
    rf"|{_FEATURE} (?:(?:does|did|could|has|is) (?:not|no)|(?:doesn|didn|couldn|hasn|isn) t|can ?not"
    r"|is (?:unclear|unknown|undefined))"
    rf"|(?:it is |it s )?(?:not possible|impossible) to {_ASKED}"
    r"|(?:it is |it s )?(?:unclear|not clear) (?:what|which|why|whether|from)"
    r"|(?:there is )?(?:not enough|insufficient) (?:information|context|data|evidence|examples)"
    r"|(?:this|the|your) (?:content|request|prompt|material) (?:violates|may violate|was flagged|can ?not be|can t be"
    r"|is (?:inappropriate|harmful|against|not allowed))"
    r")\b"
)
# By language: what says sorry, and what says in the first person that its writer can't. The latter may stand alone;
# after the former up to four words may stand between.
_OTHER_LANGUAGES = tuple(
    re.compile(rf"(?:(?:{sorry})\S*(?: \S+){{0,4}}? ?)?(?:{not_able})")
    for sorry, not_able in (
        (
            r"(?:je suis |vraiment |sincèrement )*désol|je m excuse|excusez|malheureusement|pardon",
            r"je ne (?:peux|puis|pourrai|sais)(?: \S+)? pas|je ne suis pas (?:en mesure|capable|autoris)"
            r"|il m est impossible|je n ai pas (?:assez|suffisamment)"
            r"|en tant qu(?:e| une?)? (?:ia|modèle|intelligence|assis)",
        ),
        (
            r"lo siento|lo lamento|disculp|perdón|lamento|lamentablemente|desafortunadamente",
            r"no (?:puedo|me es posible|tengo suficiente)"
            r"|como (?:un |una )?(?:modelo de|ia |inteligencia art|asistente)",
        ),
        (
            r"(?:es )?tut mir (?:\S+ )?leid|entschuldig|leider|ich bedau",
            r"(?:ich kann|kann ich)(?: \S+){0,6}? nicht|ich bin nicht in der lage|als (?:ki|sprachmodell|künstliche)\b",
        ),
        (
            r"mi dispiace|sono spiacente|spiacente|purtroppo|mi scuso",
            r"non (?:posso|sono in grado|riesco)|come (?:un )?(?:modello ling|ia |intelligenza art)",
        ),
        (
            r"desculp|sinto muito|lamento|infelizmente|peço desculpa",
            r"não (?:posso|consigo|sou capaz|é possível)"
            r"|como (?:um |uma )?(?:modelo de|ia |inteligência art)",
        ),
        (r"het spijt me|sorry|helaas|excuses", r"ik kan(?: \S+){0,6}? niet|ik ben niet in staat"),
        (r"tyvärr|jag är ledsen|beklager|desværre|undskyld", r"(?:jag|jeg) kan(?: \S+){0,4}? (?:inte|ikke)"),
        (r"przepraszam|przykro mi|niestety", r"nie (?:mogę|jestem w stanie|potrafię)"),
        (r"omlouvám|bohužel|je mi líto", r"nemohu|nemůžu|nejsem schopen"),
        (r"îmi pare rău|din păcate", r"nu pot"),
        (r"sajnál|elnézést", r"nem tud(?:ok|om)|nem segíthetek"),
        (r"λυπάμαι|συγγνώμη|δυστυχώς", r"δεν μπορώ"),
        (r"извини|прости|к сожалению|мне жаль|сожалею", r"(?:я )?не (?:могу|смогу|в состоянии)"),
        (r"вибач|на жаль|перепрошую", r"(?:я )?не можу"),
        (
            r"(?:非常|很|十分|真的|实在)?(?:抱歉|对不起|對不起)|遗憾",
            r"我(?:无法|無法|不能|没法)|(?:无法|無法)(?:提供|确定|回答|判断|识别|協助)|作为(?:一个|一名)?(?:ai|人工智能|语言模型)",
        ),
        (r"(?:أنا )?(?:آسف|اسف|عذرا|أعتذر)", r"(?:لا|لن) (?:أستطيع|استطيع|يمكنني)"),
        (r"متاسفم|متأسفم|ببخشید", r"نمی ?توانم"),
        (r"(?:אני )?מצטער|סליחה", r"(?:אני )?לא (?:יכול|מסוגל)"),
        (r"(?:tôi )?(?:xin lỗi|rất tiếc)", r"(?:tôi|mình) không thể"),
        (r"(?:mohon )?maaf", r"(?:saya|aku) tidak (?:dapat|bisa|mampu)"),
    )
)
# The same where a verb doesn't tell whose it is, so that it says nothing alone.
_AFTER_SORRY = tuple(
    re.compile(rf"(?:{sorry})\S*(?: \S+){{0,8}}? ?(?:{not_able})")
    for sorry, not_able in (
        (r"(?:大変)?申し訳|すみません|ごめん", r"\S*(?:できません|できかねます|わかりません|分かりません)"),
        (r"죄송|미안|유감", r"\S*(?:수 없|못합니다|어렵습니다)"),
        (r"üzgünüm|maalesef|özür dilerim", r"\S+(?:amam|emem|am\u0131yorum|emiyorum)\b"),
        (r"क्षमा|माफ|मुझे खेद", r"नहीं (?:\S+ )?सकत"),
        (r"ขออภัย|ขอโทษ", r"\S*ไม่สามารถ"),
    )
)


def is_refusal(words: str, read: str) -> bool:
    """Whether a text is a refusal.

    Args:
        words: The text's, in small letters between single spaces.
        read: Those of the text that its writer read.
    """
    forms = (form.match(words) for form in (_ENGLISH, *_OTHER_LANGUAGES, *_AFTER_SORRY))
    begins = next((match for match in forms if match is not None), None)
    return begins is not None and begins.group() not in read
