export const text = "late: a part that is loaded when it is needed";
